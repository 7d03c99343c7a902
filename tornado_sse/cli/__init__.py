"""The command line: `tornado-sse serve | token | send | tail | check | bench`."""

import click

from tornado_sse import __version__
from tornado_sse.cli.bench import bench
from tornado_sse.cli.check import check
from tornado_sse.cli.send import send
from tornado_sse.cli.serve import serve
from tornado_sse.cli.tail import tail
from tornado_sse.cli.token import token


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tornado-sse", message="%(prog)s %(version)s")
def main() -> None:
    """Serve long-lived browser event streams (Server-Sent Events), and try them out.

    Every setting is a flag of serve, a variable TORNADO_SSE_<NAME>, and a key in the TOML file that --config names, in
    this order of strength.
    """


for _command in (serve, check, token, send, tail, bench):
    main.add_command(_command)

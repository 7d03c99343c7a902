"""`tornado-sse check`."""

import os
from pathlib import Path

import click

from tornado_sse import config
from tornado_sse.cli.options import Refused, read_settings, settings_options


@click.command()
@settings_options()
def check(config_file: Path | None, **flags: object) -> None:
    """Print the settings in force, secrets hidden.

    Takes the flags of serve, and says where each setting came from. If serve would refuse to
    start, says why and exits with 2.
    """
    settings = read_settings(config_file, flags)
    origins = config.origins(flags, config_file, os.environ)
    values = {name: config.shown(getattr(settings, name)) for name in origins}
    name_width, value_width = max(map(len, values)), max(map(len, values.values()))
    for name, value in values.items():
        click.echo(f"{name:{name_width}} = {value:{value_width}}  {origins[name]}")
    try:
        config.require_key(settings)
    except config.ConfigProblem as problem:
        raise Refused(str(problem)) from problem

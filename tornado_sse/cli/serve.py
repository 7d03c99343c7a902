"""`tornado-sse serve`."""

import os
import secrets
import sys
from pathlib import Path

import click
from pydantic import SecretStr

from tornado_sse import config, log
from tornado_sse.cli.options import Refused, read_settings, settings_options


@click.command()
@settings_options()
def serve(config_file: Path | None, **flags: object) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    It needs a key that tokens are checked with: a secret, key files, or a JWKS URL. With --dev it makes a secret for
    this run. Prefer a variable or the file to a flag for a secret: other users of the machine can see flags.

    A list is separated by commas. Exit codes: 0 drained, 1 an address can't be had or the broker can't be reached,
    2 settings refused, 3 cut short.
    """
    settings = read_settings(config_file, flags)
    try:
        config.require_key(settings)
    except config.ConfigProblem as problem:
        raise Refused(str(problem)) from problem
    log.configure(settings.log_level, settings.log_format)
    if settings.workers > 1:
        from tornado_sse.workers.supervisor import serve as run  # noqa: PLC0415 - the other commands do without it
    else:
        from tornado_sse.lifecycle import serve as run  # noqa: PLC0415 - same

    dev_secret = SecretStr(secrets.token_urlsafe(48))

    def reload() -> config.Settings:
        fresh = config.load(flags, config_file, os.environ)
        config.require_key(fresh)
        return _with_secret(fresh, dev_secret)

    sys.exit(run(_with_secret(settings, dev_secret), reload))


def _with_secret(settings: config.Settings, dev_secret: SecretStr) -> config.Settings:
    if not settings.dev or settings.jwt_secret is not None:
        return settings
    return settings.model_copy(update={"jwt_secret": dev_secret})

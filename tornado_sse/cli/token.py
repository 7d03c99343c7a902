"""`tornado-sse token`."""

from pathlib import Path

import click

from tornado_sse.cli.client import token_source
from tornado_sse.cli.options import settings_options

LONGEST_TTL = 10 * 365 * 86400
"""Seconds: ten years, in case somebody must."""


SCOPES = ("subscribe", "publish", "sessions", "admin")


@click.command()
@click.option("--user", required=True, help="Whom the token is for.")
@click.option("--session", help="The one session id that it is good for.")
@click.option("--channel", "channels", multiple=True, help="Channel, or pattern with *, that it may hear; repeatable.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; repeatable. Without one it may subscribe.",
)
@click.option(
    "--ttl",
    type=click.IntRange(1, LONGEST_TTL),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long it is good for.",
)
@settings_options(["jwt_secret"])
def token(  # noqa: PLR0913 - one parameter an option
    *,
    config_file: Path | None,
    jwt_secret: str | None,
    user: str,
    session: str | None,
    channels: tuple[str, ...],
    scopes: tuple[str, ...],
    ttl: int,
) -> None:
    """Print a token, signed with the configured secret, and nothing else."""
    source = token_source(
        None, config_file, jwt_secret, user=user, session=session, channels=channels, scopes=scopes, ttl=ttl
    )
    click.echo(source())

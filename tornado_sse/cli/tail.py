"""`tornado-sse tail`."""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import click
import httpx

from tornado_sse.cli.canary import Canary, report
from tornado_sse.cli.client import DEFAULT_USER, http_url, token_option, token_source, url_option
from tornado_sse.cli.decode import Event
from tornado_sse.cli.follow import TIMEOUT, Follower
from tornado_sse.cli.options import settings_options

INTERRUPTED = 130
"""Exit code of a command that SIGINT ended, as shells have it."""

TOKEN_SECONDS = 3600

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@click.command()
@click.option("--user", default=DEFAULT_USER, show_default=True, help="Whom the signed token is for.")
@click.option("--session", help="Session id to connect with.  [default: cli- and eight random digits]")
@click.option("--channel", "channels", multiple=True, help="Channel to listen to as well; repeatable.")
@click.option("--since", default="", metavar="POSITION", help="Begin after this position (an event's id).")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many events.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option(
    "--canary",
    metavar="URL",
    callback=http_url,
    help="Send messages to a stream of its own through the server at URL, and print how long each took.",
)
@url_option
@token_option
@settings_options(["jwt_secret"])
@click.pass_context
def tail(  # noqa: PLR0913 - one parameter an option
    context: click.Context,
    *,
    user: str,
    session: str | None,
    channels: tuple[str, ...],
    since: str,
    count: int | None,
    as_json: bool,
    canary: str | None,
    url: str,
    token: str | None,
    config_file: Path | None,
    jwt_secret: str | None,
) -> None:
    """Print events as they come: name, position, data.

    Reconnects and resumes where it was until Ctrl-C, --count, or the server's word that the session is over.

    With --canary a message a second goes all the way; the exit code is 1 once one does not arrive within 5 s, or the
    stream ends. A --token must be the user's, and allow to subscribe and to publish.
    """
    session = session or f"cli-{secrets.token_hex(4)}"
    scopes = ["subscribe", "publish"] if canary else []
    bearer = token_source(
        token, config_file, jwt_secret, user=user, session=session, channels=channels, scopes=scopes, ttl=TOKEN_SECONDS
    )
    if canary:
        with _interruptible(context):
            report(Canary(canary, user, session, bearer), count, as_json=as_json)
        return
    _tell(f"listening to user {user}, session {session}, at {url}")
    with httpx.Client(timeout=TIMEOUT) as client:
        connect = f"{url}/sse/connect/{quote(session, safe='')}"
        follower = Follower(client, connect, channels, bearer, _tell, last_event_id=since)
        with _interruptible(context):
            _print_all(follower.events(), count, as_json=as_json)


@contextmanager
def _interruptible(context: click.Context) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        context.exit(INTERRUPTED)


def _print_all(events: Iterator[Event], count: int | None, *, as_json: bool) -> None:
    printed = 0
    for event in islice(events, count):
        click.echo(json.dumps(asdict(event)) if as_json else _readable(event))
        printed += 1
    if printed != count:
        _tell("the session was disconnected, and stays so")


def _readable(event: Event) -> str:
    name = click.style(_harmless(event.name), fg="cyan", bold=True)
    position = click.style(_harmless(event.id), dim=True)
    return f"{name} {position} {_harmless(event.data)}".replace("\n", "\n    ")


def _harmless(text: str) -> str:
    """Escape control characters: what somebody published must not steer the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _tell(text: str) -> None:
    click.echo(click.style(_harmless(text), dim=True), err=True)

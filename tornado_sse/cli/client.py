"""What the commands that talk to a server share: its URL, a token, and what its refusals say."""

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypedDict, Unpack

import click
import httpx
import msgspec

from tornado_sse import tokens
from tornado_sse.cli.options import Refused, read_settings
from tornado_sse.config import Settings

_TOKEN = re.compile(r"[\x21-\x7e]+")

DEFAULT_USER = "tornado-sse-cli"


def http_url(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    """Check a URL given as an option: no slash at its end is kept; None: it was not given."""
    if url is None:
        return None
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise click.BadParameter(str(error)) from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise click.BadParameter(f"{url} does not begin with http:// or https:// and a host")
    return url.rstrip("/")


url_option = click.option(
    "--url",
    callback=http_url,
    envvar="TORNADO_SSE_URL",
    default="http://127.0.0.1:8080",
    help="Where the server is, or TORNADO_SSE_URL.  [default: http://127.0.0.1:8080]",
)
token_option = click.option(
    "--token",
    envvar="TORNADO_SSE_TOKEN",
    help="Token to send, or TORNADO_SSE_TOKEN; without one, one is signed with the configured secret.",
)


class Claims(TypedDict, total=False):
    """What a token says; `ttl` is in seconds."""

    user: str
    ttl: float
    session: str | None
    channels: Iterable[str]
    scopes: Iterable[str]


def token_source(
    given: str | None, config_file: Path | None, jwt_secret: str | None, **claims: Unpack[Claims]
) -> Callable[[], str]:
    """Return what hands out the token given, or else a fresh one each time; raises Refused without a secret."""
    if given:
        if not _TOKEN.fullmatch(given):
            raise Refused("--token or TORNADO_SSE_TOKEN is no token: a token has no spaces and no control characters")
        return lambda: given
    settings = read_settings(config_file, {"jwt_secret": jwt_secret})
    if settings.jwt_secret is None:
        raise Refused(
            "no secret to sign a token with: set TORNADO_SSE_JWT_SECRET, --jwt-secret or jwt_secret in the file that "
            "--config names"
        )
    secret = settings.jwt_secret.get_secret_value()
    return lambda: _sign(secret, settings, claims)


def _sign(secret: str, settings: Settings, claims: Claims) -> str:
    return tokens.sign(secret, now=time.time(), issuer=settings.jwt_issuer, audience=settings.jwt_audience, **claims)


def refusal(response: httpx.Response) -> str:
    """Say what the server answered: its status and its message. The body must have been read."""
    status = f"{response.status_code} {response.reason_phrase}".strip()
    try:
        message = msgspec.json.decode(response.content, type=dict[str, object]).get("message")
    except msgspec.MsgspecError:
        message = None
    return f"{status}: {message}" if message else status


def unreachable(url: str, error: Exception) -> str:
    """Say why there was no answer."""
    return f"no answer from {url}: {str(error) or type(error).__name__}"

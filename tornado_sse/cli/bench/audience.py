"""Whom a run publishes to, and the tokens for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import jwt

from tornado_sse import tokens
from tornado_sse.cli.client import token_source
from tornado_sse.cli.options import read_settings

TOKEN_TTL = 2 * 86400.0
"""Seconds that a signed token is good for: longer than any run, so that no stream ends with it."""


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom messages go to: one stream each, a channel, or, if it has no name, all."""

    run: str
    channel: str
    unicast: bool

    @property
    def channels(self) -> tuple[str, ...]:
        """What the streams ask for."""
        return (self.channel,) if self.channel else ()

    def name(self, index: int) -> str:
        """Name a stream's session, and its user if there is one for each."""
        return f"bench-{self.run}-{index}"

    def targets(self, opened: list[int], shared_user: str | None) -> list[object]:
        """Return what messages are addressed to, in turn."""
        if not self.unicast:
            return [{"channel": self.channel} if self.channel else "all"]
        if shared_user is None:
            return [{"user": self.name(index)} for index in opened]
        return [{"user": shared_user, "session": self.name(index)} for index in opened]


@dataclass(frozen=True, slots=True)
class Wallet:
    """Tokens: `publish` to publish with, `subscribe` makes one for a user.

    `user` is whose all streams are; None: each is a user of its own.
    """

    publish: str
    subscribe: Callable[[str], str]
    user: str | None

    @classmethod
    def open(cls, token: str | None, config_file: Path | None, jwt_secret: str | None, audience: Audience) -> "Wallet":
        """Take the token given, or sign with the configured secret. Raises Refused."""
        source = token_source(token, config_file, jwt_secret, user=audience.name(0), scopes=("publish",), ttl=TOKEN_TTL)
        publish = source()
        if token:
            return cls(token, lambda _: token, _subject(token) if audience.unicast else "")
        settings = read_settings(config_file, {"jwt_secret": jwt_secret})
        assert settings.jwt_secret  # noqa: S101 - or it would have been refused; tells the type checker
        sign = partial(
            tokens.sign,
            settings.jwt_secret.get_secret_value(),
            channels=audience.channels,
            ttl=TOKEN_TTL,
            now=time.time(),
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
        )
        return cls(publish, lambda user: sign(user=user), None)


def _subject(token: str) -> str:
    try:
        return str(jwt.decode(token, options={"verify_signature": False})["sub"])
    except (jwt.InvalidTokenError, KeyError) as error:
        raise click.UsageError("--unicast needs to know whose --token it is: it is no JWT with a sub") from error

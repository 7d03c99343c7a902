"""Who is asking: bearer tokens (RFC 6750) that are JWTs (RFC 7519, checked as RFC 8725 advises), and what they allow.

Everything raised here is Unauthorized, Forbidden or Unavailable, with fixed messages that quote nothing from the token.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from tornado_sse.errors import AuthFailure, Forbidden, Unauthorized
from tornado_sse.keys import KeyRing
from tornado_sse.tokens import parse
from tornado_sse.topic import name_problem

BEARER_TYPES = frozenset({"jwt", "at+jwt"})  # RFC 8725 section 3.11: a token made for another use is none for this one
REMEMBERED_TOKENS = 1024
TOKEN_CHANNELS = 256
CHANNEL_CHARS = 128
LATEST = 2**53  # seconds; beyond it a JSON number is no longer exact (RFC 7493 section 2.2)

_SESSION = re.compile(r"[A-Za-z0-9._~-]{1,1024}")
_SCHEME = re.compile(r"bearer(?![!#$%&'*+.^_`|~0-9a-z-])", re.ASCII | re.IGNORECASE)  # a whole RFC 9110 token
_B64TOKEN = re.compile(r" +([A-Za-z0-9._~+/-]+=*) *")  # RFC 6750 section 2.1


class Scope(StrEnum):
    """What a token may allow."""

    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    SESSIONS = "sessions"
    ADMIN = "admin"


_SCOPES = frozenset(Scope)
_ONLY_SUBSCRIBE = frozenset({Scope.SUBSCRIBE})


class Principal(NamedTuple):
    """Who is asking, and what they may do.

    `session` None: any session of the user. `channels` are names or patterns. `expires_at` is in unix seconds.
    """

    user: str
    session: str | None
    scopes: frozenset[Scope]
    channels: tuple[str, ...]
    expires_at: float

    def require(self, scope: Scope) -> None:
        """Raise Forbidden(SCOPE) if the scope isn't granted."""
        if scope not in self.scopes:
            raise Forbidden(AuthFailure.SCOPE, f"the token lacks the scope {scope}", scope)

    def ends_at(self, now: float, leeway: float) -> float:
        """Tell when to end what was allowed: at the expiry, or when the leeway that it lives on is used up."""
        return self.expires_at if self.expires_at > now else self.expires_at + leeway


class Verified(NamedTuple):
    """A token found good, but for the time: that changes, and is checked at each use."""

    principal: Principal
    not_before: float
    key_version: int


class Authenticator:
    """Turns bearer tokens into principals.

    `issuer` is what `iss` must be (None: anything); `audience` is what `aud` must be or hold (None: a token with any
    `aud` is for somebody else). `clock` gives unix seconds, and may differ from the issuer's by `leeway` seconds.
    """

    def __init__(
        self,
        keys: KeyRing,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        leeway: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._clock = clock
        self._remembered: OrderedDict[str, Verified] = OrderedDict()

    async def verify(self, token: str, *, reuse: bool = False) -> Principal:
        """Give the principal of a good token; doesn't suspend if the key is at hand.

        With `reuse` the last 1,024 such tokens are remembered, and their signatures not computed again.
        Raises Unauthorized, or Unavailable while there are no keys yet.
        """
        verified = self._recall(token) if reuse else None
        if verified is None:
            verified = await self._examine(token)
        self._check_time(verified)
        if reuse:
            self._remember(token, verified)
        return verified.principal

    def _recall(self, token: str) -> Verified | None:
        verified = self._remembered.pop(token, None)
        return verified if verified and verified.key_version == self._keys.version else None

    def _remember(self, token: str, verified: Verified) -> None:
        self._remembered[token] = verified
        if len(self._remembered) > REMEMBERED_TOKENS:
            self._remembered.popitem(last=False)

    async def _examine(self, token: str) -> Verified:
        jws = parse(token)
        if jws.typ not in BEARER_TYPES:
            raise Unauthorized(AuthFailure.MALFORMED, "the token is of a type that is not for this use")
        await self._keys.verify(jws.alg, jws.kid, jws.text, jws.signature)
        claims = jws.claims()
        self._check_parties(claims)
        return Verified(read_principal(claims), _not_before(claims), self._keys.version)

    def _check_parties(self, claims: dict[str, Any]) -> None:
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise Unauthorized(AuthFailure.ISSUER, "the token is from another issuer")
        if self._audience is None:
            intended = "aud" not in claims  # RFC 7519 section 4.1.3
        else:
            audience = claims.get("aud")
            intended = self._audience in audience if isinstance(audience, list) else self._audience == audience
        if not intended:
            raise Unauthorized(AuthFailure.AUDIENCE, "the token is for another audience")

    def _check_time(self, verified: Verified) -> None:
        now = self._clock()
        if verified.principal.expires_at + self._leeway <= now:
            raise Unauthorized(AuthFailure.EXPIRED, "the token has expired")
        if verified.not_before - self._leeway > now:
            raise Unauthorized(AuthFailure.NOT_YET_VALID, "the token is not valid yet")


def bearer_token(header: str | None) -> str | None:
    """Take the token out of an Authorization header (RFC 6750 section 2.1).

    None: there is no header, or it is of another scheme. Raises Unauthorized(MALFORMED) for `Bearer` and no one token.
    """
    if header is None or (scheme := _SCHEME.match(header)) is None:
        return None
    token = _B64TOKEN.fullmatch(header, scheme.end())
    if token is None:
        raise Unauthorized(AuthFailure.MALFORMED, "the Authorization header does not hold one bearer token")
    return token[1]


def read_principal(claims: dict[str, Any]) -> Principal:
    """Read the claims of a token whose signature is good; raises Unauthorized(CLAIMS)."""
    session = claims.get("sid")
    if not valid_user(claims.get("sub")):
        raise _bad_claim("sub")
    if "sid" in claims and not (isinstance(session, str) and _SESSION.fullmatch(session)):
        raise _bad_claim("sid")
    return Principal(claims["sub"], session, _scopes(claims), _channels(claims), _seconds(claims, "exp"))


def valid_user(user: object) -> bool:
    """Tell whether this names a user: a string of 1 to 256 characters, none of them a control character."""
    return isinstance(user, str) and name_problem(user) is None


def valid_channels(channels: object) -> bool:
    """Tell whether this is a list of at most 256 channels, each 1 to 128 characters without control characters."""
    return (
        isinstance(channels, list)
        and len(channels) <= TOKEN_CHANNELS
        and all(isinstance(name, str) and name_problem(name, CHANNEL_CHARS) is None for name in channels)
    )


def _bad_claim(name: str) -> Unauthorized:
    return Unauthorized(AuthFailure.CLAIMS, f"the claim {name} of the token is missing or not as it should be")


def _scopes(claims: dict[str, Any]) -> frozenset[Scope]:
    if "scope" not in claims:
        return _ONLY_SUBSCRIBE
    scope = claims["scope"]
    if isinstance(scope, str):
        return _granted(*scope.split(" "))
    if not isinstance(scope, list) or not all(isinstance(name, str) for name in scope):
        raise _bad_claim("scope")
    return _granted(*scope)


@lru_cache(maxsize=64)  # an issuer's tokens grant much the same
def _granted(*names: str) -> frozenset[Scope]:
    return frozenset(known for known in _SCOPES if known in names)


def _channels(claims: dict[str, Any]) -> tuple[str, ...]:
    channels = claims.get("channels", [])
    if not valid_channels(channels):
        raise _bad_claim("channels")
    return tuple(channels)


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LATEST:
        raise _bad_claim(name)
    return float(value)


def _not_before(claims: dict[str, Any]) -> float:
    """Give the later of `nbf` and `iat`, or a time long past if there is neither."""
    return max([_seconds(claims, name) for name in ("nbf", "iat") if name in claims], default=-LATEST)

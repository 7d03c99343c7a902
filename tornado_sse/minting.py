"""Minted session ids: signed by this server, so that an EventSource connects with nothing but its URL.

Such an id is a JWT of a type of its own, signed by a key of its own: it is no bearer token, and a bearer token no id.
"""

import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from secrets import token_urlsafe

import jwt
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tornado_sse.auth import Principal, Scope, read_principal, valid_channels, valid_user
from tornado_sse.errors import AuthFailure, BadRequest, Unauthorized
from tornado_sse.keys import secret_key
from tornado_sse.tokens import parse

SESSION_TYPE = "sse-session+jwt"
MINTED_CHARS = 1024

NOT_YOURS = "the session id is malformed, expired or somebody else's"
"""One text for all of it: which it is, is nobody's business."""

_PREFIX = urlsafe_b64encode(f'{{"alg":"HS256","typ":"{SESSION_TYPE}"}}'.encode()).rstrip(b"=").decode() + "."
_PLAIN = re.compile(r"[A-Za-z0-9._~-]{1,128}")


@dataclass(frozen=True, slots=True)
class Minted:
    """A session id fresh from the mint. `expires_at` is in unix seconds."""

    session_id: str
    user: str
    expires_at: float


def valid_session_id(text: str) -> bool:
    """Tell whether this is a session id that a client may choose: 1 to 128 of `A-Z a-z 0-9 . _ ~ -`."""
    return _PLAIN.fullmatch(text) is not None


def looks_minted(session_id: str) -> bool:
    """Tell whether this has the shape of a minted id, good or not."""
    return session_id.startswith(_PREFIX)


class Minter:
    """Makes and opens minted ids. `secret` (at least 32 bytes, else KeyProblem) may serve other uses as well.

    `clock` gives unix seconds.
    """

    def __init__(self, secret: str, *, clock: Callable[[], float] = time.time) -> None:
        derive = HKDF(SHA256(), 32, salt=None, info=b"tornado_sse session").derive  # RFC 5869
        self._key = secret_key(derive(secret_key(secret).material))
        self._clock = clock

    def mint(self, user: str, ttl: float, channels: Iterable[str] = ()) -> Minted:
        """Make an id for a session of `user`, good for `ttl` seconds.

        Raises BadRequest for a user or channels that no token may name, or so long that the id passes 1,024 characters.
        """
        names = list(channels)
        if not valid_user(user) or not valid_channels(names):
            raise BadRequest("the user or a channel has no length that is allowed, or holds control characters")
        expires_at = self._clock() + ttl
        claims = {"sub": user, "exp": expires_at, "jti": token_urlsafe(12)} | ({"channels": names} if names else {})
        session_id = jwt.encode(claims, self._key.material, algorithm="HS256", headers={"typ": SESSION_TYPE})
        if len(session_id) > MINTED_CHARS:
            raise BadRequest(f"the user and the channels are too long for an id of {MINTED_CHARS} characters")
        return Minted(session_id, user, expires_at)

    def open(self, session_id: str, *, expired_too: bool = False) -> Principal | None:
        """Give the principal that an id stands for, or None if it doesn't look minted.

        It may subscribe, and no more. With `expired_too` the id is no credential, and only tells whose session it is.
        Raises Unauthorized (EXPIRED; SESSION for one that isn't ours or was changed).
        """
        if not looks_minted(session_id):
            return None
        principal = self._read(session_id)
        if not expired_too and principal.expires_at <= self._clock():
            raise Unauthorized(AuthFailure.EXPIRED, "the session has expired")
        return principal._replace(session=session_id, scopes=frozenset({Scope.SUBSCRIBE}))

    def _read(self, session_id: str) -> Principal:
        try:
            if len(session_id) <= MINTED_CHARS:
                jws = parse(session_id)
                if self._key.signed(jws.text, jws.signature):
                    return read_principal(jws.claims())
        except Unauthorized:
            pass
        raise Unauthorized(AuthFailure.SESSION, NOT_YOURS)

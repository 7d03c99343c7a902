"""JSON Web Tokens as text: signed (HS256), and taken apart without yet being trusted.

Taking apart is stricter than most: one spelling for each token (no padding, no stray bits), and no member named twice.
"""

import json
import re
from binascii import a2b_base64
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, Never

import jwt

from tornado_sse.errors import AuthFailure, Unauthorized
from tornado_sse.keys import secret_key

TOKEN_CHARS = 8192
KID_CHARS = 256

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")  # RFC 7515 section 7.1
_STANDARD = bytes.maketrans(b"-_", b"+/")
_LAST = {1: "", 2: "AQgw", 3: "AEIMQUYcgkosw048"}
"""What a segment whose length leaves this remainder by 4 may end with: the bits that no byte takes are 0 (RFC 4648)."""


class Jws(NamedTuple):
    """A token in its parts (RFC 7515), not verified: whether `signature` signs `text` is for a key to say."""

    alg: str
    kid: str | None
    typ: str
    payload: bytes
    text: bytes
    signature: bytes

    def claims(self) -> dict[str, Any]:
        """Read the payload as a JSON object; raises Unauthorized(MALFORMED)."""
        return _json_object(self.payload)


def parse(token: str) -> Jws:
    """Take a token in the compact form apart; raises Unauthorized (MALFORMED, ALGORITHM).

    `typ` comes in lower case without `application/` (RFC 7515 section 4.1.9), and as `jwt` when the header has none.
    At most 8,192 characters. Any `crit` is refused: no extension is understood here, `b64` (RFC 7797) included.
    """
    shape = _COMPACT.fullmatch(token) if len(token) <= TOKEN_CHARS else None
    if shape is None:
        raise _malformed("the token is not a JWS in compact form, or too long")
    text = token[: shape.end(2)].encode()
    return Jws(*_header(shape[1]), _decode(shape[2]), text, _decode(shape[3]))


def sign(  # noqa: PLR0913 - one argument for each claim
    secret: str,
    *,
    user: str,
    ttl: float,
    now: float,
    session: str | None = None,
    channels: Iterable[str] = (),
    scopes: Iterable[str] = (),
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """Make a token for `user`, good for `ttl` seconds from `now` (unix seconds), signed HS256.

    What is empty or None gets no claim; a token without scopes may only subscribe. Raises KeyProblem.
    """
    claims = {
        "sub": user,
        "iat": now,
        "exp": now + ttl,
        "sid": session,
        "channels": list(channels),
        "scope": " ".join(scopes),  # RFC 8693 section 4.2
        "iss": issuer,
        "aud": audience,
    }
    given = {name: value for name, value in claims.items() if value or name in {"sub", "iat", "exp"}}
    return jwt.encode(given, secret_key(secret).material, algorithm="HS256")


def _malformed(message: str) -> Unauthorized:
    return Unauthorized(AuthFailure.MALFORMED, message)


def _decode(segment: str) -> bytes:
    rest = len(segment) % 4
    if rest and segment[-1] not in _LAST[rest]:
        raise _malformed("the token is not in base64url without padding")
    return a2b_base64(segment.encode().translate(_STANDARD) + b"==")


@lru_cache(maxsize=64)  # an issuer's tokens have the same header, and reading it is a third of the work
def _header(segment: str) -> tuple[str, str | None, str]:
    header = _json_object(_decode(segment))
    if "crit" in header or "b64" in header:
        raise _malformed("the token asks for an extension that is not supported")
    return _algorithm(header), _key_id(header), _type(header)


def _algorithm(header: dict[str, Any]) -> str:
    alg = header.get("alg")
    if not isinstance(alg, str):
        raise Unauthorized(AuthFailure.ALGORITHM, "the token names no algorithm")
    return alg


def _key_id(header: dict[str, Any]) -> str | None:
    if "kid" not in header:
        return None
    kid = header["kid"]
    if not isinstance(kid, str) or not 1 <= len(kid) <= KID_CHARS:
        raise _malformed("the key id of the token is not a string of a sensible length")
    return kid


def _type(header: dict[str, Any]) -> str:
    typ = header.get("typ", "JWT")
    if not isinstance(typ, str):
        raise _malformed("the type of the token is not a string")
    return typ.lower().removeprefix("application/")


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):  # which of the two counts is what parsers disagree on (RFC 7519 section 4)
        raise ValueError("a member is named twice")
    return found


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        found = _JSON.decode(raw.decode())
    except (ValueError, RecursionError):
        raise _malformed("the token is not made of JSON") from None
    if not isinstance(found, dict):
        raise _malformed("the token is not made of JSON objects")
    return found

"""Tokens that must be refused, by the reason: the ways of RFC 8725, of published attacks, and of plain mistakes."""

from collections.abc import Callable

import jwt

from jwt_support import (
    AUDIENCE,
    ISSUER,
    LEEWAY,
    NOW,
    OTHER_SECRET,
    SECRET,
    Clock,
    b64,
    claims,
    jwk,
    public_pem,
    raw,
    token,
    with_header,
)
from tornado_sse.errors import AuthFailure
from tornado_sse.minting import Minter

_Table = dict[str, Callable[[], str]]

DEEP = "[" * 2000 + "]" * 2000


def of_type(typ: object) -> str:
    return with_header(typ=typ)


def unsigned(alg: str, signature: str = "") -> str:
    return f"{b64({'alg': alg, 'typ': 'JWT'})}.{b64(claims())}.{signature}"


def changed(text: str, part: int, to: str) -> str:
    parts = text.split(".")
    parts[part] = to
    return ".".join(parts)


def hs256_by_public_key(pem: bytes) -> str:
    return raw({"alg": "HS256", "typ": "JWT"}, secret=pem)


_MALFORMED: _Table = {
    "empty": lambda: "",
    "one part": lambda: "abc",
    "two parts": lambda: token().rpartition(".")[0],
    "four parts": lambda: token() + ".e30",
    "five parts, a JWE": lambda: "e30.e30.e30.e30.e30",
    "dots alone": lambda: "..",
    "no header": lambda: changed(token(), 0, ""),
    "no payload": lambda: changed(token(), 1, ""),
    "padding": lambda: token() + "=",
    "a space before": lambda: " " + token(),
    "a line end after": lambda: token() + "\n",
    "a NUL inside": lambda: token().replace(".", "\0.", 1),
    "not ASCII": lambda: changed(token(), 2, "é" * 43),
    "half a surrogate pair": lambda: changed(token(), 2, "\ud800"),
    "the other base64 alphabet": lambda: changed(token(), 2, "+/" * 21),
    "stray bits": lambda: token()[:-1] + chr(ord(token()[-1]) + 1),
    "one character too many": lambda: token() + "AA",
    "more than 8 KiB": lambda: token(filler="x" * 8192),
    "a million characters": lambda: "a" * 1_000_000,
    "a header that is no JSON": lambda: raw("not json"),
    "a header that is a list": lambda: raw(["HS256"]),
    "a header that is a string": lambda: raw('"HS256"'),
    "a header in UTF-16": lambda: raw('{"alg":"HS256"}'.encode("utf-16")),
    "a header with a byte order mark": lambda: raw(b'\xef\xbb\xbf{"alg":"HS256"}'),
    "a header of invalid UTF-8": lambda: raw(b'{"alg":"HS256","x":"\xff"}'),
    "a deep header": lambda: raw(f'{{"alg":"HS256","kid":{DEEP}}}'),
    "alg twice": lambda: raw('{"alg":"none","alg":"HS256"}'),
    "kid twice": lambda: raw('{"alg":"HS256","kid":"a","kid":"b"}'),
    "NaN in the header": lambda: raw('{"alg":"HS256","x":NaN}'),
    "kid a number": lambda: with_header(kid=1),
    "kid null": lambda: with_header(kid=None),
    "kid a list": lambda: with_header(kid=["k1"]),
    "kid empty": lambda: with_header(kid=""),
    "kid too long": lambda: with_header(kid="k" * 257),
    "crit of an unknown extension": lambda: with_header(crit=["exp"], exp=1),
    "crit empty": lambda: with_header(crit=[]),
    "crit null": lambda: with_header(crit=None),
    "crit and b64 (RFC 7797)": lambda: with_header(crit=["b64"], b64=False),
    "b64 without crit": lambda: with_header(b64=False),
    "typ a number": lambda: of_type(1),
    "typ null": lambda: of_type(None),
    "typ of a minted session": lambda: of_type("sse-session+jwt"),
    "typ of a logout token": lambda: of_type("logout+jwt"),
    "typ of a proof of possession": lambda: of_type("dpop+jwt"),
    "a minted session id": lambda: Minter(SECRET, clock=Clock()).mint("u1", 60).session_id,
    "claims that are no JSON": lambda: raw(payload="not json"),
    "claims that are a list": lambda: raw(payload=[1]),
    "claims that are null": lambda: raw(payload="null"),
    "a token in a token": lambda: raw({"alg": "HS256", "cty": "JWT"}, token()),
    "deep claims": lambda: raw(payload=DEEP),
    "sub twice": lambda: raw(payload=f'{{"sub":"u1","sub":"admin","exp":{NOW + 60}}}'),
    "exp NaN": lambda: raw(payload='{"sub":"u1","exp":NaN}'),
    "exp Infinity": lambda: raw(payload='{"sub":"u1","exp":Infinity}'),
    "exp of 5,000 digits": lambda: raw(payload='{"sub":"u1","exp":' + "9" * 5000 + "}"),
}

_ALGORITHM: _Table = {
    "alg none, unsigned": lambda: unsigned("none"),
    "alg None": lambda: unsigned("None"),
    "alg NONE": lambda: unsigned("NONE"),
    "alg none, with the right HMAC": lambda: raw({"alg": "none"}),
    "alg empty": lambda: raw({"alg": ""}),
    "alg missing": lambda: raw({"typ": "JWT"}),
    "alg null": lambda: raw({"alg": None}),
    "alg a list": lambda: raw({"alg": ["HS256"]}),
    "alg in lower case": lambda: raw({"alg": "hs256"}),
    "alg with a space": lambda: raw({"alg": "HS256 "}),
    "HS384": lambda: jwt.encode(claims(), SECRET * 2, algorithm="HS384"),
    "HS512": lambda: jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
    "PS256": lambda: raw({"alg": "PS256"}),
    "ES256K": lambda: raw({"alg": "ES256K"}),
    "dir": lambda: raw({"alg": "dir", "enc": "A256GCM"}),
}

_SIGNATURE: _Table = {
    "no signature": lambda: unsigned("HS256"),
    "another secret": lambda: raw(secret=OTHER_SECRET),
    "an empty secret": lambda: raw(secret=""),
    "a signature cut short": lambda: token()[:-3],
    "a signature of zeros": lambda: unsigned("HS256", b64(bytes(32))),
    "another payload": lambda: changed(token(), 1, b64(claims(sub="admin"))),
    "another header": lambda: changed(token(), 0, b64({"alg": "HS256", "kid": "x"})),
    "HMAC by the RSA public key": lambda: hs256_by_public_key(public_pem("rsa")),
    "HMAC by the EC public key": lambda: hs256_by_public_key(public_pem("ec")),
    "RS256 by HMAC with the secret": lambda: raw({"alg": "RS256"}),
    "RS256 by another key": lambda: token("rsa-2"),
    "RS256 unsigned": lambda: unsigned("RS256"),
    "ES256 by another key": lambda: token("ec-2"),
    "ES256 with r and s zero (CVE-2022-21449)": lambda: unsigned("ES256", b64(bytes(64))),
    "EdDSA by another key": lambda: token("ed-2"),
    "EdDSA of zeros": lambda: unsigned("EdDSA", b64(bytes(64))),
    "ES256 whose header says RS256": lambda: changed(token("ec"), 0, token("rsa").split(".")[0]),
    "its own key in jwk": lambda: token("rsa-2", {"jwk": jwk("rsa-2")}),
    "its own key behind jku": lambda: token("rsa-2", {"jku": "http://127.0.0.1:1/keys"}),
    "its own key behind x5u": lambda: token("rsa-2", {"x5u": "file:///etc/passwd"}),
    "kid a path": lambda: token("rsa-2", {"kid": "../../../dev/null"}),
    "kid some SQL": lambda: token("rsa-2", {"kid": "' OR 1=1 --"}),
}

_CLAIMS: _Table = {
    "no claims": lambda: raw(payload={}),
    "no sub": lambda: token(sub=None),
    "sub null": lambda: raw(payload={"sub": None, "exp": NOW + 60}),
    "sub a number": lambda: raw(payload={"sub": 1, "exp": NOW + 60}),
    "sub empty": lambda: token(sub=""),
    "sub too long": lambda: token(sub="u" * 257),
    "sub with a line end": lambda: token(sub="u1\nu2"),
    "sub with NUL": lambda: token(sub="u1\0"),
    "sub half a surrogate pair": lambda: raw(payload=f'{{"sub":"\\ud800","exp":{NOW + 60}}}'),
    "sid null": lambda: raw(payload=claims() | {"sid": None}),
    "sid a number": lambda: token(sid=1),
    "sid empty": lambda: token(sid=""),
    "sid with a slash": lambda: token(sid="a/b"),
    "sid with a line end": lambda: token(sid="a\n"),
    "sid too long": lambda: token(sid="s" * 1025),
    "no exp": lambda: token(exp=None),
    "exp null": lambda: raw(payload={"sub": "u1", "exp": None}),
    "exp a string": lambda: raw(payload={"sub": "u1", "exp": "1800000000"}),
    "exp true": lambda: raw(payload={"sub": "u1", "exp": True}),
    "exp a list": lambda: raw(payload={"sub": "u1", "exp": [NOW + 60]}),
    "exp beyond any float": lambda: raw(payload='{"sub":"u1","exp":1e999}'),
    "exp of 400 digits": lambda: raw(payload='{"sub":"u1","exp":' + "9" * 400 + "}"),
    "nbf a string": lambda: raw(payload=claims() | {"nbf": "0"}),
    "nbf null": lambda: raw(payload=claims() | {"nbf": None}),
    "nbf false": lambda: raw(payload=claims() | {"nbf": False}),
    "iat a string": lambda: raw(payload=claims() | {"iat": "0"}),
    "iat beyond any float": lambda: raw(payload=f'{{"sub":"u1","exp":{NOW + 60},"iat":-1e999}}'),
    "scope null": lambda: raw(payload=claims() | {"scope": None}),
    "scope a number": lambda: token(scope=1),
    "scope an object": lambda: token(scope={"publish": True}),
    "scope a list of numbers": lambda: token(scope=["publish", 1]),
    "channels a string": lambda: token(channels="news"),
    "channels an object": lambda: token(channels={"news": 1}),
    "channels null": lambda: raw(payload=claims() | {"channels": None}),
    "channels with a number": lambda: token(channels=["news", 1]),
    "channels with an empty name": lambda: token(channels=[""]),
    "channels with a long name": lambda: token(channels=["c" * 129]),
    "channels with a tab": lambda: token(channels=["a\tb"]),
    "too many channels": lambda: token(channels=["c"] * 257),
}

BAD: dict[AuthFailure, _Table] = {
    AuthFailure.MALFORMED: _MALFORMED,
    AuthFailure.ALGORITHM: _ALGORITHM,
    AuthFailure.SIGNATURE: _SIGNATURE,
    AuthFailure.CLAIMS: _CLAIMS,
    AuthFailure.EXPIRED: {
        "expired": lambda: token(exp=NOW - 60),
        "expired by the leeway": lambda: token(exp=NOW - LEEWAY),
        "exp zero": lambda: token(exp=0),
        "exp negative": lambda: token(exp=-1),
        "expired before it was valid": lambda: token(exp=NOW - 60, nbf=NOW + 60),
    },
    AuthFailure.NOT_YET_VALID: {
        "nbf to come": lambda: token(nbf=NOW + 30),
        "iat to come": lambda: token(iat=NOW + 30),
        "one of the two to come": lambda: token(iat=NOW - 30, nbf=NOW + LEEWAY + 0.001),
    },
}

FOREIGN: dict[AuthFailure, _Table] = {
    AuthFailure.ISSUER: {
        "no iss": lambda: token(aud=AUDIENCE),
        "another iss": lambda: token(aud=AUDIENCE, iss=ISSUER + "/"),
        "iss in capitals": lambda: token(aud=AUDIENCE, iss=ISSUER.upper()),
        "iss a list": lambda: raw(payload=claims(aud=AUDIENCE, iss=[ISSUER])),
        "iss null": lambda: raw(payload=claims(aud=AUDIENCE) | {"iss": None}),
    },
    AuthFailure.AUDIENCE: {
        "no aud": lambda: token(iss=ISSUER),
        "another aud": lambda: token(iss=ISSUER, aud="other"),
        "aud that begins alike": lambda: token(iss=ISSUER, aud=AUDIENCE + "2"),
        "aud that holds it": lambda: token(iss=ISSUER, aud=f"x{AUDIENCE}x"),
        "aud a list of others": lambda: token(iss=ISSUER, aud=["a", "b"]),
        "aud empty": lambda: token(iss=ISSUER, aud=[]),
        "aud an object": lambda: raw(payload=claims(iss=ISSUER, aud={AUDIENCE: 1})),
        "aud a number": lambda: raw(payload=claims(iss=ISSUER, aud=1)),
    },
}

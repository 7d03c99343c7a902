"""What is fuzzed of what clients send, piece by piece: tokens, session ids, bodies, last event ids, addresses."""

from base64 import urlsafe_b64encode
from collections.abc import Coroutine
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import cast

import jwt
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from fuzz_frames import check_frame
from server_support import SECRET
from tornado_sse import position, resume
from tornado_sse.auth import Authenticator, Principal, Scope, bearer_token
from tornado_sse.brokers.base import Past
from tornado_sse.errors import Unauthorized
from tornado_sse.event import Encoding
from tornado_sse.handlers.address import client_address
from tornado_sse.keys import KeyRing
from tornado_sse.message import Draft, number
from tornado_sse.minting import SESSION_TYPE, Minter
from tornado_sse.position import Position
from tornado_sse.publishing import BadBody, BadItem, Limits, read_items, split_json, split_lines
from tornado_sse.topic import allows

NOW = 1_700_000_000.0
LIMITS = Limits(message_bytes=1000, items=20)
PROXIES = [ip_network("10.0.0.0/8"), ip_network("::1")]

_authenticator = Authenticator(KeyRing(secret=SECRET), clock=lambda: NOW)
_minter = Minter(SECRET, clock=lambda: NOW)
_sign = jwt.get_algorithm_by_name("HS256")


def bearer(data: bytes) -> None:
    """An Authorization header, of an attacker who has no key."""
    with suppress(Unauthorized):
        token = bearer_token(data.decode("latin-1"))
        if token is not None:
            _at_once(_authenticator.verify(token))
            raise AssertionError("a token without a signature was taken")


def signed(data: bytes) -> None:
    """A token's header and claims, of an issuer who signs anything: two lines."""
    token = _signed(data, SECRET.encode())
    with suppress(Unauthorized):
        _check_principal(_at_once(_authenticator.verify(token)))
    with suppress(Unauthorized):
        assert _minter.open(token) is None, "a bearer token is no session id"


def minted(data: bytes) -> None:
    """The same of a session id, as if its key were known; without a line end, any text."""
    if b"\n" not in data:
        with suppress(Unauthorized):
            assert _minter.open(data.decode("latin-1")) is None
        return
    session_id = _signed(data, _minter._key.material)
    with suppress(Unauthorized):
        principal = _minter.open(session_id, expired_too=True)
        if principal is not None:
            assert principal.scopes == {Scope.SUBSCRIBE}
            _check_principal(principal)
    with suppress(Unauthorized):
        _at_once(_authenticator.verify(session_id))
        raise AssertionError(f"a {SESSION_TYPE} is no bearer token")


def body(data: bytes) -> None:
    """The body of a publish request, as JSON and as NDJSON."""
    for items in (_split(data), split_lines(data, LIMITS.items)):
        with suppress(BadBody):
            for sequence, draft in enumerate(read_items(items, LIMITS)):
                if isinstance(draft, Draft):
                    _check_draft(draft, sequence)
                else:
                    assert isinstance(draft, BadItem)
                    str(draft).encode()


def last_event_id(data: bytes) -> None:
    """A last event id, as the header and the query give it."""
    for text in (data.decode("latin-1"), data.decode(errors="replace")):
        asked = resume.read(text, "e")
        after = asked.after or 0
        past = Past([], upto=max(after, 5), lost=min(after, 1))
        gap = resume.find_gap(asked, past, "e")
        opening = resume.opening(asked, past, gap, resume.Start("e", 2000, Encoding.BARE))
        wire = b"".join(part for part in opening if isinstance(part, bytes))
        assert wire.endswith(b"\n\n")
        ids = [line[4:] for line in wire.split(b"\n") if line.startswith(b"id: ")]
        assert all(position.parse(one.decode()) for one in ids), "a client is told positions alone"
        assert wire.count(b"\n\n") == len(ids)


def address(data: bytes) -> None:
    """What a proxy that is trusted says in X-Forwarded-For."""
    headers = HTTPHeaders({"X-Forwarded-For": data.decode("latin-1")}) if b"\n" not in data else HTTPHeaders()
    request = HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.0"), headers=headers)
    for peer in ("10.0.0.1", "192.0.2.1"):
        request.remote_ip = peer
        found = client_address(request, PROXIES)
        assert ip_address(found)
        assert peer in (found, "10.0.0.1"), "others are not believed"


def channels(data: bytes) -> None:
    """A token's pattern and a channel's name: two lines. Whatever they are, the answer comes soon."""
    pattern, _, name = data.decode("latin-1").partition("\n")
    if allows([pattern], name):
        assert name.startswith(pattern.partition("*")[0])


def _at_once(verified: Coroutine[None, None, Principal]) -> Principal:
    try:
        verified.send(None)
    except StopIteration as done:
        return cast("Principal", done.value)
    raise AssertionError("with the key at hand nothing waits")


def _signed(data: bytes, key: bytes) -> str:
    header, _, claims = data.partition(b"\n")
    text = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    return (text + b"." + urlsafe_b64encode(_sign.sign(text, key)).rstrip(b"=")).decode()


def _check_principal(principal: Principal) -> None:
    assert 1 <= len(principal.user) <= 256
    assert principal.user.isprintable() or not any(ord(letter) < 32 for letter in principal.user)
    assert principal.scopes <= set(Scope)
    assert abs(principal.expires_at) < 2**53


def _split(data: bytes) -> list[bytes]:
    try:
        return split_json(data, LIMITS.items)[0]
    except BadBody:
        return []


def _check_draft(draft: Draft, sequence: int) -> None:
    check_frame(number(draft, Position("e", sequence), NOW), draft.data)
    assert len(draft.data.encode()) <= LIMITS.message_bytes

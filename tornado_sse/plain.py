"""Plain requests: what nearly all clients send, recognised in one look at the bytes (RFC 9112).

A plain request is HTTP/1.1, has a whole head, no field twice, and a body, if any, of a length that is told. Whatever
else comes, well formed or not, is for Tornado to read: here is nothing that it would read otherwise, only less.
"""

import re
from typing import NamedTuple

from tornado.httputil import HTTPHeaders, RequestStartLine

MOST_DIGITS = 9
"""A length with more digits is for Tornado to refuse."""

MOST_FIELDS = 100
"""A head with more fields is refused: each costs as much to read as some hundred bytes."""

_HEAD = re.compile(
    rb"(GET|POST|DELETE|OPTIONS) (/[!-~]*) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n){1," + b"%d" % MOST_FIELDS + rb"})\r\n"
)
_LOWER = {"GET": "get", "POST": "post", "DELETE": "delete", "OPTIONS": "options"}
_NOT_PLAIN = frozenset({"Transfer-Encoding", "Expect", "Upgrade", "Http2-Settings"})
_CONNECTION = {"": True, "keep-alive": True, "close": False}


class _Method(str):
    """A request's method, whose `lower()`, by which Tornado looks it up in a handler, is always the same object.

    The interpreter keeps thousands of the names that it looked up last, and finds only the very same objects again.
    """

    __slots__ = ()

    def lower(self) -> str:
        return _LOWER[self]


_METHODS = {name.encode(): _Method(name) for name in _LOWER}


class PlainRequest(NamedTuple):
    """A request's head: `size` in bytes, and of the body that follows; `keep_alive`: another request may follow."""

    start_line: RequestStartLine
    headers: HTTPHeaders
    size: int
    body_size: int
    keep_alive: bool


def read_plain(data: bytes) -> PlainRequest | None:
    """Read the head that the bytes begin with. None: it is incomplete, or not plain."""
    head = _HEAD.match(data)
    if head is None:
        return None
    lines = head[3].decode("latin-1").split("\r\n")
    headers = HTTPHeaders()
    for line in lines[:-1]:
        name, _, value = line.partition(":")
        headers[name] = value.strip(" \t")
    keep_alive, body_size = _keep_alive(headers), _body_size(headers)
    twice = len(headers) < len(lines) - 1
    if twice or keep_alive is None or body_size is None or not _NOT_PLAIN.isdisjoint(headers):
        return None
    start_line = RequestStartLine(_METHODS[head[1]], head[2].decode(), "HTTP/1.1")
    return PlainRequest(start_line, headers, head.end(), body_size, keep_alive)


def _keep_alive(headers: HTTPHeaders) -> bool | None:
    return _CONNECTION.get(headers["Connection"].lower()) if "Connection" in headers else True


def _body_size(headers: HTTPHeaders) -> int | None:
    if "Content-Length" not in headers:
        return 0
    text = headers["Content-Length"]
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else None

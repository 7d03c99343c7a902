"""Requests on whose end two readers may differ (RFC 9112 section 11.2), each with a second one hidden in it."""

from collections.abc import Iterator
from typing import NamedTuple

HOST = b"Host: localhost"
HIDE = b"hide the rest"
"""Stands for the hidden request in a body."""

CHUNKED = b"Transfer-Encoding: chunked"


class Doubtful(NamedTuple):
    """`fields` and `body` of a request; HIDE in the body is the hidden one. `status`: what the server answers.

    400 where the request is malformed, 405 where it is well formed, as /healthz takes no POST.
    """

    name: str
    fields: tuple[bytes, ...]
    body: bytes = HIDE
    status: int = 400
    line: bytes = b"POST /healthz HTTP/1.1"

    def raw(self, hidden: bytes) -> bytes:
        """Return its bytes."""
        head = b"\r\n".join([self.line, *self.fields, b"", b""])
        return head.replace(HIDE, hidden) + self.body.replace(HIDE, hidden)


def doubtful() -> Iterator[Doubtful]:
    """Give them all."""
    for value in LENGTHS:
        yield Doubtful(f"length {value!r}", (HOST, b"Content-Length:" + value))
    for value in CODINGS:
        yield Doubtful(f"coding {value!r}", (HOST, b"Transfer-Encoding:" + value), b"0\r\n\r\n" + HIDE)
    for size in SIZES:
        yield Doubtful(f"chunk size {size!r}", (HOST, CHUNKED), size + b"\r\n\r\n" + HIDE)
    yield from FIELDS
    yield from CHUNKS
    yield from LINES


LENGTHS = [b" 0, 5", b" +0", b" -0", b" -1", b" 0x0", b" 0 0", b" 0;", b" 0.0", b" 0_0", b" 1e0", b"", b" "]
LENGTHS += [b" \x0b0", b" \x00", b" \xd9\xa0", b" 99999999999999999999"]
CODINGS = [b" identity", b" xchunked", b" chunke", b' "chunked"', b" chunked;q=1", b" \x0bchunked", b" chunked\x0b"]
CODINGS += [b" chunked, identity", b" identity, chunked", b" chunked, chunked", b" gzip, chunked", b" chunked\x00", b""]
SIZES = [b"0x0", b"+0", b"-0", b"0_0", b" 0", b"0 ", b"", b"g", b"10000000000000000", b"0\r", b"-1", b"\xd9\xa0"]
FIELDS = [
    Doubtful("two lengths that differ", (HOST, b"Content-Length: 0", b"Content-Length: 5")),
    Doubtful("two lengths alike", (HOST, b"Content-Length: 0", b"Content-Length: 0"), b"", 405),
    Doubtful("a length twice in a line", (HOST, b"Content-Length: 5, 5"), b"hello", 405),
    Doubtful("length and coding", (HOST, b"Content-Length: 0", CHUNKED), b"0\r\n\r\n" + HIDE),
    Doubtful("coding and length", (HOST, CHUNKED, b"Content-Length: 5"), b"0\r\n\r\n" + HIDE),
    Doubtful("two codings", (HOST, CHUNKED, CHUNKED), b"0\r\n\r\n" + HIDE),
    Doubtful("a coding and none", (HOST, CHUNKED, b"Transfer-Encoding: identity"), b"0\r\n\r\n" + HIDE),
    Doubtful("space before the colon", (HOST, b"Transfer-Encoding : chunked", b"Content-Length: 0")),
    Doubtful("tab before the colon", (HOST, b"Content-Length\t: 5", b"Content-Length: 0")),
    Doubtful("space before the name", (b" " + HOST, b"Content-Length: 0")),
    Doubtful("a folded line", (HOST, b"Transfer-Encoding:\r\n chunked", b"Content-Length: 0")),
    Doubtful("a NUL in a name", (HOST, b"Content-Length\x00: 5", b"Content-Length: 0")),
    Doubtful("a NUL in a value", (HOST, b"X: a\x00b", b"Content-Length: 0")),
    Doubtful("a bare CR in a value", (HOST, b"X: a\rContent-Length: 5", b"Content-Length: 0")),
    Doubtful("no name", (HOST, b": 5", b"Content-Length: 0")),
    Doubtful("no colon", (HOST, b"Content-Length 5", b"Content-Length: 0")),
    Doubtful("a name that is not ASCII", (HOST, b"Content-L\xc3\xa9ngth: 5", b"Content-Length: 0")),
    Doubtful("a host twice", (HOST, b"Host: other", b"Content-Length: 0")),
    Doubtful("no host", (b"Content-Length: 0",)),
    Doubtful("a host with a path", (b"Host: localhost/sse", b"Content-Length: 0")),
    Doubtful("an underscore for a hyphen", (HOST, b"Content_Length: 5", b"Content-Length: 0"), b"", 405),
    Doubtful("a body of its own", (HOST, b"Content-Length: 5"), b"hello", 405),
]
CHUNKS = [
    Doubtful("a chunk extension", (HOST, CHUNKED), b"0;a=b\r\n\r\n", 400),
    Doubtful("a quoted chunk extension", (HOST, CHUNKED), b'0;a="b\r\n\r\n' + HIDE + b'"\r\n\r\n'),
    Doubtful("LF in a chunk extension", (HOST, CHUNKED), b"0;a\n\r\n\r\n" + HIDE),
    Doubtful("LF behind a size", (HOST, CHUNKED), b"0\n\n" + HIDE),
    Doubtful("no line end behind a chunk", (HOST, CHUNKED), b"1\r\na0\r\n\r\n" + HIDE),
    Doubtful("a trailer with a length", (HOST, CHUNKED), b"0\r\nContent-Length: 5\r\n\r\n" + HIDE),
    Doubtful("a whole chunked body", (HOST, CHUNKED), b"5\r\nhello\r\n0\r\n\r\n", 405),
]
OLD = b"POST /healthz HTTP/1.0"
EMPTY = (HOST, b"Content-Length: 0")
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")
WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAA")
LINES = [
    Doubtful("an absolute target", EMPTY, b"", 404, b"POST http://localhost/healthz HTTP/1.1"),
    Doubtful("a target elsewhere", EMPTY, b"", 404, b"POST http://other/healthz HTTP/1.1"),
    Doubtful("an authority for a target", EMPTY, b"", 405, b"CONNECT localhost:8080 HTTP/1.1"),
    Doubtful("a star for a target", EMPTY, b"", 404, b"OPTIONS * HTTP/1.1"),
    Doubtful("no slash", EMPTY, b"", 404, b"POST healthz HTTP/1.1"),
    Doubtful("a request in the target", EMPTY, b"", 400, b"POST /healthz HTTP/1.1\r\n\r\n" + HIDE),
    Doubtful("spaces in the target", EMPTY, b"", 400, b"POST /healthz /sse/publish HTTP/1.1"),
    Doubtful("a tab in the line", EMPTY, b"", 400, b"POST\t/healthz HTTP/1.1"),
    Doubtful("HTTP/0.9", (), HIDE, 400, b"GET /healthz"),
    Doubtful("HTTP/1.0 that goes on", (*EMPTY, b"Connection: keep-alive"), b"", 405, b"POST /healthz HTTP/1.0"),
    Doubtful("HTTP/1.0 that ends", (HOST, b"Content-Length: 0"), HIDE, 405, OLD),
    Doubtful("the last request", (*EMPTY, b"X: 1", b"X: 2", b"Connection: close"), HIDE, 405),
    Doubtful(
        "HTTP/1.0, chunked, that goes on", (HOST, CHUNKED, b"Connection: keep-alive"), b"0\r\n\r\n" + HIDE, 400, OLD
    ),
    Doubtful("HTTP/1.0, chunked", (HOST, CHUNKED), b"0\r\n\r\n" + HIDE, 400, b"POST /healthz HTTP/1.0"),
    Doubtful("HTTP/1.2", EMPTY, b"", 405, b"POST /healthz HTTP/1.2"),
    Doubtful("HTTP/2 without asking", (b"SM",), b"", 400, b"PRI * HTTP/2.0\r\n"),
    Doubtful("a method in small letters", EMPTY, b"", 405, b"post /healthz HTTP/1.1"),
    Doubtful("LF for line ends", (b"Host: localhost\nContent-Length: 0",), b"", 405),
    Doubtful("HEAD with a body", (HOST, b"Content-Length: 5"), b"hello", 404, b"HEAD /nothing HTTP/1.1"),
    Doubtful("TRACE", EMPTY, b"", 405, b"TRACE /healthz HTTP/1.1"),
    Doubtful("an upgrade to h2c", (*EMPTY, *H2C), b"", 405),
    Doubtful("an upgrade to WebSocket", (*EMPTY, *WEBSOCKET), b"", 405),
    Doubtful("an expectation nobody knows", (*EMPTY, b"Expect: more"), b"", 405),
    Doubtful("hop by hop", (*EMPTY, b"Connection: Content-Length, Host, X-Forwarded-For"), b"", 405),
]

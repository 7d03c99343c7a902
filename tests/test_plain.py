"""Plain requests: whatever is taken for one reads as Tornado reads it; the rest is left alone."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, parse_request_start_line

from tornado_sse.plain import MOST_DIGITS, read_plain

TOKEN = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
VALUE = "".join(map(chr, [*range(0x20, 0x7F), *range(0x80, 0x100)])) + "\t"
TRICKY = [
    "Transfer-Encoding",
    "transfer-encoding",
    "Expect",
    "UPGRADE",
    "HTTP2-Settings",
    "Content-length",
    "connection",
]

names = st.text(TOKEN, min_size=1, max_size=8) | st.sampled_from(["Host", "Cookie", "Accept"])
values = st.text(VALUE, max_size=12)
any_fields = st.lists(
    st.tuples(
        names | st.sampled_from(TRICKY),
        values | st.sampled_from(["close", "Keep-Alive", "upgrade", "0", "12", "+1", "1,1", "²", "9" * 10, "chunked"]),
    ),
    max_size=6,
)
lengths = st.text("0123456789", min_size=1, max_size=MOST_DIGITS)
plain_fields = st.lists(st.tuples(names, values), min_size=1, max_size=6, unique_by=lambda field: field[0].lower())


def head(method: str, target: str, fields: list[tuple[str, str]], version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", *[f"{name}:{value}" for name, value in fields]]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@st.composite
def nearly_plain(draw: st.DrawFn) -> bytes:
    """A request's head in which a few bytes are not what they should be."""
    method = draw(st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "get", "GET "]))
    target = draw(st.sampled_from(["/", "/a?b=%20", "*", "http://a/", "a", ""]) | st.text(VALUE, max_size=5))
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0", "2.0", "1.1 "]))
    data = bytearray(head(method, target, draw(any_fields), version))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 2))] = draw(st.sampled_from([b"", b" ", b"\r", b"\n", b"\r\n", b":", b"\0"]))
    return bytes(data)


@given(st.one_of(st.binary(max_size=60), nearly_plain(), plain_fields.map(lambda fields: head("GET", "/", fields))))
@example(head("GET", "/", [("Content-Length", "1"), ("Transfer-Encoding", "chunked")]))
@example(b"GET / HTTP/1.1\r\nX: 1\r\n 2\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nX: a\x85b\xa0\r\n\r\n")
def test_what_is_accepted_reads_as_tornado_reads_it(data: bytes) -> None:
    request = read_plain(data)
    if request is None:
        return
    taken = data[: request.size]
    assert taken.endswith(b"\r\n\r\n")
    assert taken.count(b"\r\n\r\n") == 1
    line, _, fields = taken.decode("latin-1").partition("\r\n")
    assert request.start_line == parse_request_start_line(line)
    headers = HTTPHeaders.parse(fields)
    assert list(request.headers.get_all()) == list(headers.get_all())
    assert len(list(headers.get_all())) == len(headers), "no field stands twice"
    for name in ("Transfer-Encoding", "Expect", "Upgrade", "HTTP2-Settings"):
        assert name not in headers
    assert request.body_size == int(headers.get("Content-Length", "0")) < 10**MOST_DIGITS
    assert request.keep_alive is (headers.get("Connection", "").lower() != "close")


@given(
    st.sampled_from(["GET", "POST", "DELETE", "OPTIONS"]),
    st.text("".join(map(chr, range(0x21, 0x7F))), max_size=20),
    plain_fields,
    lengths,
    st.sampled_from([("close", False), ("Close", False), ("keep-alive", True), ("Keep-Alive", True), ("", True)]),
    st.binary(max_size=20),
)
def test_plain_requests_are_accepted(  # noqa: PLR0917 - given by hypothesis, in order
    method: str,
    path: str,
    fields: list[tuple[str, str]],
    length: str,
    connection: tuple[str, bool],
    behind: bytes,
) -> None:
    data = head(method, f"/{path}", [("content-LENGTH", f"\t {length} "), *fields, ("connection", connection[0])])
    request = read_plain(data + behind)
    assert request is not None
    assert request.start_line == (method, f"/{path}", "HTTP/1.1")
    assert (request.size, request.body_size, request.keep_alive) == (len(data), int(length), connection[1])
    assert dict(request.headers.get_all()).items() >= {"Content-Length": length, "Connection": connection[0]}.items()


def test_a_head_that_is_not_whole_is_not_read() -> None:
    data = head("POST", "/a?b", [("Host", "a"), ("Content-Length", "5")])
    assert read_plain(data) is not None
    assert [size for size in range(len(data)) if read_plain(data[:size])] == []


@pytest.mark.parametrize(
    "data",
    [
        head("HEAD", "/", [("Host", "a")]),
        head("PUT", "/", [("Host", "a")]),
        head("GET", "*", [("Host", "a")]),
        head("GET", "http://a/", [("Host", "a")]),
        head("GET", "/\xe9", [("Host", "a")]),
        head("GET", "/a b", [("Host", "a")]),
        head("GET", "/", [("Host", "a")], version="1.0"),
        head("GET", "/", [("Host", "a")], version="2.0"),
        head("GET", "/", []),
        b"\r\n" + head("GET", "/", [("Host", "a")]),
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \x7f\r\n\r\n",
        head("GET", "/", [("X", "1"), ("x", "1")]),
        head("POST", "/", [("Content-Length", "1"), ("content-length", "1")]),
        head("POST", "/", [("Transfer-Encoding", "chunked")]),
        head("POST", "/", [("transfer-encoding", "")]),
        head("POST", "/", [("Expect", "100-continue"), ("Content-Length", "1")]),
        head("GET", "/", [("Upgrade", "websocket"), ("Connection", "upgrade")]),
        head("GET", "/", [("Upgrade", "h2c")]),
        head("GET", "/", [("HTTP2-Settings", "")]),
        head("GET", "/", [("Connection", "close, te")]),
        head("GET", "/", [("Connection", "upgrade")]),
        *[
            head("POST", "/", [("Content-Length", size)])
            for size in ["", "-1", "+1", "1.0", "0x1", "1_0", "1 1", "1,1"]
        ],
        head("POST", "/", [("Content-Length", "²")]),
        head("POST", "/", [("Content-Length", "1" * (MOST_DIGITS + 1))]),
    ],
)
def test_what_is_not_plain_is_left_alone(data: bytes) -> None:
    assert read_plain(data) is None


@pytest.mark.parametrize(
    "junk", [b"GET /" + b"a" * 200_000, b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 50_000, b"GET " * 50_000]
)
def test_a_head_without_end_is_no_long_work(junk: bytes) -> None:
    assert read_plain(junk) is None


def test_the_name_that_tornado_looks_up_is_one_object() -> None:
    first, second = (read_plain(head("OPTIONS", "/", [("Host", "a")])) for _ in range(2))
    assert first
    assert second
    assert first.start_line.method.lower() is second.start_line.method.lower()
    assert first.start_line.method.lower() == "options"

"""Our listener beside Tornado's own server: the same requests get the same answers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.netutil import bind_sockets

from client_support import Client
from listener_support import ROUTES, listening
from tornado_sse.handlers.application import GuardedApplication


@asynccontextmanager
async def tornados_own() -> AsyncIterator[int]:
    """Tornado's server of the same application, and its port."""
    (bound,) = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(GuardedApplication(ROUTES, log_function=lambda _: None), max_body_size=BODY_BYTES)
    server.add_socket(bound)
    try:
        yield bound.getsockname()[1]
    finally:
        server.stop()
        await server.close_all_connections()


BODY_BYTES = 100


def asking(line: str, *fields: str, body: str = "") -> str:
    return "\r\n".join([line, "Host: a", *fields, "", body])


GET = "GET /account HTTP/1.1"
POST = "POST /account HTTP/1.1"
PLAIN = asking(GET)
CHUNKED = asking(POST, "Transfer-Encoding: chunked", body="3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n\r\n")

REQUESTS = [
    PLAIN,
    PLAIN * 3,
    PLAIN + CHUNKED + PLAIN,
    asking("GET /account?a=b%20c&d HTTP/1.1", "X-Empty:", "x-ODD: \t a \x80 b \t"),
    asking(GET, "Content-Length: 3", body="abc"),
    asking(POST, "Content-Length: 0005", body="a\r\nbc") + PLAIN,
    asking(POST, "Content-Length: 0"),
    asking(POST, f"Content-Length: {BODY_BYTES}", body="x" * BODY_BYTES),
    asking(POST, f"Content-Length: {BODY_BYTES + 1}", body="x" * (BODY_BYTES + 1)),
    asking(POST),
    asking(POST, "Content-Length: 1", "Content-Length: 1", body="a"),
    asking(POST, "Content-Length: 1", "Content-Length: 2", body="a"),
    asking(POST, "Content-Length: 1", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
    asking(POST, "Content-Length: +1", body="a"),
    asking(POST, "Content-Length: -1"),
    asking(POST, "Content-Length:"),
    asking(POST, "Content-Length: 1, 1", body="a"),
    asking(POST, "Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"),
    asking(POST, "Expect: 100-continue", "Content-Length: 2", body="ab") + PLAIN,
    asking(POST, "Content-Type: application/x-www-form-urlencoded", "Content-Length: 3", body="a=b"),
    asking("DELETE /account HTTP/1.1") + asking("OPTIONS /account HTTP/1.1") + asking("PUT /account HTTP/1.1"),
    asking("OPTIONS * HTTP/1.1"),
    asking("BREW /account HTTP/1.1"),
    asking("DELETE / HTTP/1.1"),
    asking("GET /nowhere HTTP/1.1"),
    asking("GET //account HTTP/1.1"),
    asking("GET http://b/account HTTP/1.1"),
    asking("GET /empty HTTP/1.1") + PLAIN,
    asking("GET /parts HTTP/1.1"),
    asking("GET /account HTTP/1.0"),
    asking("GET /account HTTP/1.0", "Connection: keep-alive") + PLAIN,
    asking("GET /account HTTP/2.0"),
    asking("HEAD /account HTTP/1.1", "Connection: close"),
    asking(GET, "Connection: Keep-Alive") + PLAIN,
    asking(GET, "Connection: CLOSE") + PLAIN,
    asking(GET, "Connection: te") + PLAIN,
    asking(GET, "Connection: upgrade", "Upgrade: websocket"),
    asking(GET, "X: 1", "x: 2"),
    asking(GET, "Host: b"),
    asking(GET, "X : 1"),
    asking(GET, "X: 1", " folded"),
    asking(GET, "X: a\0b"),
    asking(GET, "X: a\rb"),
    asking(GET, "no colon"),
    asking(GET, f"X: {'x' * 20_000}"),
    PLAIN.replace("a\r", "a/b\r") + PLAIN,
    PLAIN.replace("a\r", "\r"),
    PLAIN.replace("Host: a\r\n", ""),
    PLAIN.replace("Host: a\r\n", "").replace("GET", "HEAD"),
    PLAIN.replace("Host: a\r\n", "X: a\r\n") + PLAIN,
    PLAIN.replace("\r\n", "\n"),
    "\r\n" + PLAIN,
    "\0\r\n\r\n",
]


def answers(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The status and the body of each."""
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        line, _, fields = head.decode("latin-1").partition("\r\n")
        headers, status, size = HTTPHeaders.parse(fields), int(line.split(" ")[1]), len(data)
        body = b""
        if headers.get("Transfer-Encoding") == "chunked":
            while size:
                length, _, data = data.partition(b"\r\n")
                size = int(length, 16)
                body, data = body + data[:size], data[size + 2 :]
        else:
            size = 0 if status in (100, 204) else int(headers.get("Content-Length", size))
            body, data = data[:size], data[size:]
        yield status, body


async def asked(port: int, request: str) -> list[tuple[int, bytes]]:
    client = await Client.to(port)
    end = asking("GET /empty HTTP/1.1", "Connection: close")
    await client.send((request + end).encode("latin-1"))
    data = await client.read_all()
    client.close()
    return list(answers(data))


@pytest.mark.parametrize("request_text", REQUESTS, ids=lambda text: repr(text)[1:50])
@pytest.mark.gen_test
async def test_answers_as_tornados_own_server_does(request_text: str) -> None:
    async with listening(body_bytes=BODY_BYTES) as listener, tornados_own() as port:
        ours, theirs = await asked(listener.port, request_text), await asked(port, request_text)
    if "/parts" in request_text:  # without a length the connection is at its end
        theirs.pop()
    assert ours == theirs
    assert ours

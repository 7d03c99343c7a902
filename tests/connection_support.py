"""Handlers of every kind behind a listener, for the tests of connections."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from client_support import Client, until
from server_support import Clock
from tornado_sse.connection import Connection
from tornado_sse.handlers.application import GuardedApplication
from tornado_sse.listener import Listener
from tornado_sse.sockets import take_over

BODY_BYTES = 1000
LARGE = 2_000_000
BUFFER = 65536
PIECE = 10_000


class Account(RequestHandler):
    """Answers with what it was asked."""

    def get(self) -> None:
        asked = [self.request.method, self.request.uri, sorted(self.request.headers.get_all())]
        self.write({"asked": asked, "body": self.request.body.decode("latin-1"), "from": self.request.remote_ip})

    post = delete = options = put = head = get


class Hold:
    """A handler that answers when the test says so, and what came of it."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = asyncio.Event()
        self.hung_up = 0
        self.answered = 0
        self.flushed: list[asyncio.Future[None]] = []
        self.errors: list[Exception] = []
        self.sockets: list[socket.socket] = []


class Holding(RequestHandler):
    def initialize(self, hold: Hold) -> None:
        self.hold = hold

    async def get(self) -> None:
        self.hold.asked += 1
        await self.hold.go_on.wait()
        self.write("at last")

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.hold.hung_up += 1

    def on_finish(self) -> None:
        self.hold.answered += 1


class Large(Holding):
    def get(self) -> None:  # type: ignore[override]  # it has nothing to wait for
        self.write(b"#" * LARGE)


class Parts(Holding):
    """Says no length: it does not know it yet."""

    async def get(self) -> None:
        for part in ("one", "two"):
            self.write(part)
            await self.flush()


class Endless(Holding):
    async def get(self) -> None:
        self.hold.asked += 1
        await self.hold.go_on.wait()
        try:
            while True:
                self.write(b"#" * LARGE)
                self.hold.flushed.append(self.flush())
                await self.hold.flushed[-1]
        except StreamClosedError as error:
            self.hold.errors.append(error)
        self.write("to nobody")


class Piecemeal(Holding):
    """Writes until the socket takes no more, and one piece when the test says so."""

    async def get(self) -> None:
        self.set_header("Content-Length", "0")  # who counts the bytes is the test
        while not self.hold.flushed or self.hold.flushed[-1].done():
            self.write(b"#" * PIECE)
            self.hold.flushed.append(self.flush())
        self.hold.asked += 1
        await self.hold.go_on.wait()
        await self.finish(b"#" * PIECE)


class Empty(RequestHandler):
    def get(self) -> None:
        self.set_status(204)


class Last(RequestHandler):
    def get(self) -> None:
        self.set_header("Connection", "close")
        self.write("goodbye")


class Taken(Holding):
    def get(self) -> None:  # type: ignore[override]  # it has nothing to wait for
        self.hold.sockets.append(take_over(self, 30))


class Failing(RequestHandler):
    def initialize(self, errors: list[Exception]) -> None:
        raise errors[0]


@stream_request_body
class FailingStreamed(Failing):
    """Is made as soon as the head is there."""


@stream_request_body
class Streamed(RequestHandler):
    """Takes the body as it comes, be it prepared or not."""

    def initialize(self) -> None:
        self.chunks: list[bytes] = []

    async def prepare(self) -> None:
        if "Never" in self.request.headers:
            raise HTTPError(403)

    def data_received(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        if chunk.startswith(b"fail"):
            raise OSError("why")

    def post(self) -> None:
        self.write({"chunks": [chunk.decode() for chunk in self.chunks]})


class Node:
    def __init__(self, listener: Listener, hold: Hold) -> None:
        self.listener = listener
        self.hold = hold
        self.clients: list[Client] = []

    async def client(self, receive_buffer: int | None = None) -> Client:
        client = await Client.to(self.listener.port, receive_buffer)
        self.clients.append(client)
        return client

    async def heard(self) -> None:
        """Wait until the loop has heard of all that was sent before."""
        for _ in range(2):
            client = await self.client()
            await client.request("/")
            await client.response()
            client.close()

    async def forgotten(self) -> None:
        """Wait until nothing is left of any connection."""
        await until(lambda: not self.listener.connections)
        assert self.listener._expected == {}
        assert self.listener.poller._watched == {}

    @property
    def connection(self) -> Connection:
        (connection,) = self.listener.connections
        return connection


@asynccontextmanager
async def listening(clock: Clock | None = None, errors: list[Exception] | None = None) -> AsyncIterator[Node]:
    hold = Hold()
    held: dict[str, Any] = {"hold": hold}
    routes: list[Any] = [
        ("/", Account),
        ("/held", Holding, held),
        ("/large", Large, held),
        ("/parts", Parts, held),
        ("/endless", Endless, held),
        ("/piecemeal", Piecemeal, held),
        ("/empty", Empty),
        ("/last", Last),
        ("/taken", Taken, held),
        ("/failing", Failing, {"errors": errors}),
        ("/failing-streamed", FailingStreamed, {"errors": errors}),
        ("/streamed", Streamed),
    ]
    application = GuardedApplication(routes, log_function=lambda _: None)
    listener = Listener(application, "127.0.0.1", 0, body_bytes=BODY_BYTES, **{"clock": clock} if clock else {})  # type: ignore[arg-type]
    for bound in listener._sockets:  # what it accepts inherits this, so that a test knows how much the kernel holds
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    listener.start()
    node = Node(listener, hold)
    try:
        yield node
    finally:
        for client in node.clients:
            client.close()
        await listener.close()
        for taken in hold.sockets:
            taken.close()


def get(target: str = "/", *fields: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: a", *fields, "", ""]).encode()


def post(body: bytes, target: str = "/", *fields: str) -> bytes:
    head = [f"POST {target} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


def chunked(body: bytes) -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


async def body(client: Client) -> Any:
    response = await client.response()
    assert response.status == 200
    return response.json()["body"]

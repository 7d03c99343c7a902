"""Connections over a real listener, seen from both ends."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from client_support import Client, until
from server_support import Clock, serving
from tornado_sse.connection import PEEK, Connection
from tornado_sse.handlers.malformed import GuardedApplication
from tornado_sse.listener import SLOW, Listener
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


# Requests


@pytest.mark.gen_test
async def test_a_request_arrives_whole() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"h\xe9llo", "/?a=b", "X-Odd:\t a b "))
        fields = [["Content-Length", "5"], ["Host", "a"], ["X-Odd", "a b"]]
        account = {"asked": ["POST", "/?a=b", fields], "body": "h\xe9llo", "from": "127.0.0.1"}
        assert (await client.response()).json() == account
        assert node.connection.context.protocol == "http"


@pytest.mark.parametrize("request_bytes", [get("/?a=b"), post(b"hello")])
@pytest.mark.gen_test(timeout=30)
async def test_a_request_cut_anywhere_arrives_the_same(request_bytes: bytes) -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(request_bytes)
        whole = (await client.response()).json()
        for size in range(1, len(request_bytes)):
            client = await node.client()
            await client.send(request_bytes[:size])
            await node.heard()
            await client.send(request_bytes[size:])
            assert (await client.response()).json() == whole
            client.close()


@pytest.mark.gen_test
async def test_a_body_may_come_bit_by_bit() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"0123456789")[:-10])
        for digit in range(10):
            await node.heard()
            await client.send(b"%d" % digit)
        assert await body(client) == "0123456789"


@pytest.mark.gen_test
async def test_requests_that_come_at_once_are_answered_in_order() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(b"".join(post(b"%d" % number) for number in range(50)) + chunked(b"50") + post(b"51"))
        assert [await body(client) for _ in range(52)] == [str(number) for number in range(52)]


@pytest.mark.gen_test
async def test_what_comes_while_a_request_is_answered_waits() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/held"))
        await until(lambda: node.hold.asked)
        await client.send(post(b"next"))
        await node.heard()
        node.hold.go_on.set()
        assert (await client.response()).body == b"at last"
        assert await body(client) == "next"
        await client.send(post(b"and again"))
        assert await body(client) == "and again"


@pytest.mark.gen_test
async def test_a_connection_may_turn_to_chunks_and_back() -> None:
    async with listening() as node:
        client = await node.client()
        for request, sent in ((post(b"a"), "a"), (chunked(b"b"), "b"), (post(b"c"), "c"), (chunked(b"d"), "d")):
            await client.send(request)
            assert await body(client) == sent
        assert node.listener.connections == set(), "the rest of it is Tornado's"


@pytest.mark.gen_test
async def test_who_awaits_a_continue_gets_it() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"", "/", "Expect: 100-continue").replace(b"Length: 0", b"Length: 5"))
        assert (await client.response()).status == 100
        await client.send(b"hello")
        assert await body(client) == "hello"


@pytest.mark.gen_test
async def test_a_body_above_the_bound_is_for_tornado_to_refuse() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"x" * BODY_BYTES))
        assert await body(client) == "x" * BODY_BYTES
        await client.send(post(b"x" * (BODY_BYTES + 1)))
        assert await client.read_all() == b"HTTP/1.1 400 Bad Request\r\n\r\n"


@pytest.mark.parametrize("size", [PEEK - 1000, PEEK + 1000])
@pytest.mark.gen_test
async def test_a_long_head_is_read(size: int) -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get(f"/?{'x' * size}"))
        assert (await client.response()).json()["asked"][1] == f"/?{'x' * size}"


@pytest.mark.gen_test
async def test_a_body_can_be_taken_as_it_comes() -> None:
    async with listening() as node:
        client = await node.client()
        for sent, chunks in ((b"hello", ["hello"]), (b"", [])):
            await client.send(post(sent, "/streamed"))
            assert (await client.response()).json() == {"chunks": chunks}
        await client.send(post(b"unread", "/streamed", "Never: 1") + post(b"yes", "/streamed"))
        assert (await client.response()).status == 403
        assert (await client.response()).json() == {"chunks": ["yes"]}


@pytest.mark.gen_test
async def test_a_handler_that_fails_at_the_body_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"fail", "/streamed"))
        assert await client.read_all() == b""
        await node.forgotten()
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["why"]


# Answers


@pytest.mark.gen_test
async def test_who_wants_the_connection_closed_has_it_closed() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/", "Connection: close") + get())
        assert (await client.response()).headers["connection"] == "close"
        assert await client.read() == b""
        await node.forgotten()


@pytest.mark.gen_test
async def test_a_handler_may_end_the_connection() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/last"))
        response = await client.response()
        assert (response.body, response.headers["connection"]) == (b"goodbye", "close")
        assert await client.read() == b""


@pytest.mark.gen_test
async def test_an_answer_without_a_length_lasts_until_the_end() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/parts"))
        head, _, rest = (await client.read_all()).partition(b"\r\n\r\n")
        assert rest == b"onetwo"
        assert b"\r\nConnection: close" in head
        await node.forgotten()


@pytest.mark.gen_test
async def test_an_answer_that_has_no_body_needs_no_length() -> None:
    async with listening() as node:
        client = await node.client()
        for _ in range(2):
            await client.send(get("/empty"))
            assert (await client.response()).status == 204
        await client.send(get())
        etag = (await client.response()).headers["etag"]
        for _ in range(2):
            await client.send(get("/", f"If-None-Match: {etag}").replace(b"/ HTTP", b"/empty HTTP"))
            assert (await client.response()).status == 204


@pytest.mark.gen_test
async def test_a_malformed_request_is_answered_and_the_connection_ends() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"abc").replace(b"Host: a", b"Host: a/b") + get())
        assert (await client.response()).status == 400
        assert await client.read() == b""
        await node.forgotten()


@pytest.mark.gen_test(timeout=20)
async def test_a_slow_reader_gets_all_of_a_large_answer(clock: Clock) -> None:
    async with listening(clock) as node:
        client = await node.client(BUFFER)
        await client.send(get("/large") + get("/", "Connection: close"))
        data = b""
        while data.count(b"#") < LARGE:  # each time more than the kernel holds, so that some of it was written just now
            wanted = min(data.count(b"#") + 8 * BUFFER, LARGE)
            while data.count(b"#") < wanted:
                data += await client.read()
            clock.advance(SLOW - 1)
            node.listener._cut()
        data += await client.read_all()
        assert data.count(b"#") == LARGE
        assert data.count(b"HTTP/1.1 200 OK") == 2
        assert node.hold.hung_up == 0


@pytest.mark.gen_test
async def test_who_never_reads_is_cut(clock: Clock) -> None:
    async with listening(clock) as node:
        client = await node.client(BUFFER)
        await client.send(get("/large"))
        await until(lambda: node.hold.answered)
        clock.advance(SLOW - 1)
        node.listener._cut()
        assert not node.connection.closed
        clock.advance(1)
        node.listener._cut()
        await node.forgotten()
        assert len(await client.read_all()) < LARGE


@pytest.mark.gen_test
async def test_a_flush_is_over_when_the_socket_took_it_all() -> None:
    async with listening() as node:
        client = await node.client(BUFFER)
        await client.send(get("/piecemeal", "Connection: close"))
        await until(lambda: node.hold.asked)
        waiting = node.hold.flushed[-1]
        assert not waiting.done()
        node.hold.go_on.set()
        data = await client.read_all()
        assert data.count(b"#") == len(node.hold.flushed) * PIECE + PIECE
        await waiting
        await node.forgotten()


@pytest.mark.gen_test
async def test_room_that_comes_just_before_a_write_is_used_by_it() -> None:
    async with listening() as node:
        client = await node.client(BUFFER)
        await client.send(get("/piecemeal", "Connection: close"))
        await until(lambda: node.hold.asked)
        node.hold.go_on.set()
        data = drained(client.socket)  # no turn of the loop: the handler goes on before the news of the room
        data += await client.read_all()
        assert data.count(b"#") == len(node.hold.flushed) * PIECE + PIECE
        await node.hold.flushed[-1]
        await node.forgotten()


def drained(connection: socket.socket) -> bytes:
    """Read all that the kernel holds on either side."""
    data = b""
    connection.settimeout(0.05)
    with suppress(TimeoutError):
        while more := connection.recv(1 << 20):
            data += more
    connection.setblocking(False)
    return data


@pytest.mark.gen_test
async def test_who_waits_no_longer_for_a_flush_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as node:
        client = await node.client(BUFFER)
        await client.send(get("/piecemeal"))
        await until(lambda: node.hold.asked)
        node.hold.flushed[-1].cancel()
        data = b""
        while data.count(b"#") < len(node.hold.flushed) * PIECE:
            data += await client.read()
        node.hold.go_on.set()
        while data.count(b"#") < len(node.hold.flushed) * PIECE + PIECE:
            data += await client.read()
        await client.send(post(b"next"))
        assert await body(client) == "next"
    assert caplog.records == []


# Ends


@pytest.mark.gen_test
async def test_an_idle_connection_that_ends_is_forgotten() -> None:
    async with listening() as node:
        for request in (b"", get()):
            for end in (Client.close, Client.reset):
                client = await node.client()
                await client.send(request)
                if request:
                    await client.response()
                end(client)
        await node.forgotten()


@pytest.mark.parametrize("end", [Client.close, Client.reset])
@pytest.mark.gen_test
async def test_a_client_that_leaves_within_its_body_is_forgotten(end: Any) -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"hello")[:-1])
        await node.heard()
        end(client)
        await node.forgotten()


@pytest.mark.gen_test
async def test_a_hang_up_is_told_to_who_answers() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/held"))
        await until(lambda: node.hold.asked)
        client.reset()
        await until(lambda: node.hold.hung_up)
        await node.forgotten()
        node.hold.go_on.set()
        await until(lambda: node.hold.answered)
        assert node.hold.hung_up == 1


@pytest.mark.gen_test
async def test_a_hang_up_is_noticed_when_the_answer_is_written() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/held"))
        await until(lambda: node.hold.asked)
        client.reset()
        node.hold.go_on.set()  # the handler goes on before the loop looks at its sockets
        await until(lambda: node.hold.answered)
        await node.forgotten()


@pytest.mark.gen_test
async def test_who_only_ends_his_half_gets_his_answer() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/held") + post(b"next"))
        client.socket.shutdown(socket.SHUT_WR)
        await until(lambda: node.hold.asked)
        await node.heard()
        node.hold.go_on.set()
        assert (await client.response()).body == b"at last"
        assert await body(client) == "next"
        assert await client.read() == b""
        await node.forgotten()
        assert node.hold.hung_up == 0


@pytest.mark.gen_test
async def test_who_writes_on_and_on_is_told_of_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as node:
        client = await node.client(BUFFER)
        await client.send(get("/endless"))
        await until(lambda: node.hold.asked)
        node.hold.go_on.set()
        await client.read()
        client.reset()
        await until(lambda: node.hold.answered)
        assert len(node.hold.errors) == 1
        await node.forgotten()
    assert caplog.records == []


@pytest.mark.gen_test
async def test_who_writes_after_the_end_is_told_at_once() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/endless"))
        await until(lambda: node.hold.asked)
        node.connection.close()
        node.hold.go_on.set()
        await until(lambda: node.hold.answered)
        assert len(node.hold.errors) == 1
        assert await client.read() == b""


@pytest.mark.parametrize("target", ["/failing", "/failing-streamed"])
@pytest.mark.parametrize("error", [RuntimeError("why"), OSError("why"), BlockingIOError("why")])
@pytest.mark.gen_test
async def test_a_handler_that_can_not_be_made_closes_the_connection(
    target: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(errors=[error]) as node:
        client = await node.client()
        with caplog.at_level(logging.ERROR, "tornado.application"):
            await client.send(get(target))
            await client.read_all()
        await node.forgotten()
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[1] is error


@pytest.mark.gen_test
async def test_news_of_nothing_is_no_harm() -> None:
    async with listening() as node:
        client = await node.client()
        await until(lambda: node.listener.connections)
        connection = node.connection
        connection.readable()
        connection.writable()
        await client.send(post(b"hello"))
        assert await body(client) == "hello"
        connection.close()
        connection.close()
        connection.finish()
        assert connection.detach().fileno() == -1


# Sockets that are no longer HTTP's


@pytest.mark.gen_test
async def test_a_socket_that_was_given_away_is_left_alone() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/taken") + b"stray bytes")
        await until(lambda: node.hold.sockets)
        await node.heard()
        await node.forgotten()
        await node.listener.close()
        (connection,) = node.hold.sockets
        assert connection.recv(100) == b"stray bytes"
        connection.send(b"hello")
        assert await client.read() == b"hello"
        assert node.hold.hung_up == 0


@pytest.mark.gen_test
async def test_what_comes_behind_a_connect_is_thrown_away() -> None:
    async with serving() as node:
        client = await node.client()
        authorization = f"Authorization: {node.bearer()['Authorization']}"
        await client.send(get("/sse/connect/s1", authorization) + get("/healthz"))
        await client.streaming()
        await client.send(get("/healthz"))
        await node.server.publish("all", json.dumps("hello"))
        assert await client.data() == '"hello"'
        client.close()
        await until(lambda: not node.streams)

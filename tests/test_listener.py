import asyncio
import errno
import gc
import json
import os
import socket
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from client_support import Client, until
from serve_support import served
from server_support import Clock
from tornado_sse import listener as module
from tornado_sse.handlers.malformed import GuardedApplication
from tornado_sse.listener import BACK_OFF, MAX_HEADER, Listener


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("hello")

    def post(self) -> None:
        self.write(self.request.body)


class Held(RequestHandler):
    """Answers when it is told to."""

    waiting: ClassVar[list[asyncio.Event]] = []

    async def get(self) -> None:
        event = asyncio.Event()
        self.waiting.append(event)
        await event.wait()
        self.waiting.remove(event)
        self.write("hello")


class Account(RequestHandler):
    """Answers with what it was asked."""

    def get(self) -> None:
        asked = [self.request.method, self.request.uri, self.request.version, self.request.host]
        fields = [field for field in self.request.headers.get_all() if field[0] != "Connection"]
        self.write({"asked": asked, "fields": fields, "body": self.request.body.decode("latin-1")})

    post = delete = options = put = head = get


class Empty(RequestHandler):
    def get(self) -> None:
        self.set_status(204)


class Parts(RequestHandler):
    async def get(self) -> None:
        for part in ("one", "two"):
            self.write(part)
            await self.flush()


ROUTES = [("/", Hello), ("/held", Held), ("/account", Account), ("/empty", Empty), ("/parts", Parts)]


@asynccontextmanager
async def listening(host: str = "127.0.0.1", **options: Any) -> AsyncIterator[Listener]:
    listener = Listener(GuardedApplication(ROUTES, log_function=lambda _: None), host, 0, **options)
    listener.start()
    try:
        yield listener
    finally:
        await listener.close()


async def hello(port: int) -> bytes:
    client = await Client.to(port)
    await client.request("/")
    response = await client.response()
    client.close()
    return response.body


@pytest.mark.gen_test
async def test_serves_at_a_free_port_and_says_where() -> None:
    async with listening() as listener:
        assert listener.url == f"http://127.0.0.1:{listener.port}"
        assert await hello(listener.port) == b"hello"


@pytest.mark.gen_test
async def test_an_ipv6_address_stands_in_brackets() -> None:
    async with listening("::1") as listener:
        assert listener.url == f"http://[::1]:{listener.port}"


@pytest.mark.gen_test
async def test_accepts_no_more_once_closed() -> None:
    async with listening() as listener:
        client = await Client.to(listener.port)
        await client.request("/")
        await client.response()
    assert await client.read() == b"", "connections that are still HTTP's are closed too"
    client.close()
    with pytest.raises(ConnectionRefusedError):
        await Client.to(listener.port)


def test_an_address_in_use_is_an_error() -> None:
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # Tornado's, of the socket not bound
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
            Listener(Application(), "127.0.0.1", taken.getsockname()[1])
        gc.collect()


@pytest.mark.gen_test
async def test_processes_may_share_the_port() -> None:
    async with listening(reuse_port=True) as listener:
        second = Listener(Application([("/", Hello)]), "127.0.0.1", listener.port, reuse_port=True)
        await second.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"]
)
@pytest.mark.gen_test
async def test_slow_requests_are_cut(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    assert module.SLOW == 10
    monkeypatch.setattr(module, "SLOW", 0.1)
    monkeypatch.setattr(module, "CUT_EVERY", 0.01)
    async with listening() as listener:
        client = await Client.to(listener.port)
        await client.send(sent)
        assert await client.read() == b""
        client.close()
        assert await hello(listener.port) == b"hello"


@pytest.mark.gen_test
async def test_clients_are_cut_each_in_its_time(clock: Clock) -> None:
    async with listening(clock=clock) as listener:
        clients = []
        for _ in range(3):
            clients.append(await Client.to(listener.port))
            await until(lambda: len(listener.connections) == len(clients))
            clock.advance(4)
        await clients[1].request("/")
        assert (await clients[1].response()).status == 200, "who has been answered has his time again"
        for seconds, left in ((0, 2), (5, 2), (1, 1), (3, 1), (1, 0)):
            clock.advance(seconds)
            listener._cut()
            assert len(listener.connections) == left
        for client in clients:
            assert await client.read() == b""
            client.close()


@pytest.mark.gen_test
async def test_a_body_has_a_time_of_its_own(clock: Clock) -> None:
    async with listening(clock=clock) as listener:
        client = await Client.to(listener.port)
        await until(lambda: listener.connections)
        clock.advance(module.SLOW - 1)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        assert await hello(listener.port) == b"hello"
        clock.advance(module.SLOW - 1)
        listener._cut()
        await client.send(b"c")
        assert await hello(listener.port) == b"hello"
        await client.send(b"de")
        assert (await client.response()).body == b"abcde"
        client.close()


@pytest.mark.gen_test
async def test_nobody_is_cut_who_waits_for_us(clock: Clock) -> None:
    async with listening(clock=clock) as listener:
        client = await Client.to(listener.port)
        await client.request("/held")
        await until(lambda: Held.waiting)
        clock.advance(2 * module.SLOW)
        listener._cut()
        assert len(listener.connections) == 1
        Held.waiting[0].set()
        assert (await client.response()).body == b"hello"
        client.close()


@pytest.mark.gen_test
async def test_its_end_is_that_of_all_its_connections() -> None:
    async with listening() as listener:
        requests = [
            b"",
            b"GET / HTTP/1.1\r\nHost",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
            b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /held HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n",
        ]
        clients = [await Client.to(listener.port) for _ in requests]
        for client, request in zip(clients, requests, strict=True):
            await client.send(request)
        await until(lambda: len(Held.waiting) == 2)
    for client in clients:
        assert await client.read() == b""
        client.close()
    assert (listener.connections, listener._expected) == (set(), {})
    for event in Held.waiting:
        event.set()
    await until(lambda: not Held.waiting)


@pytest.mark.gen_test
async def test_headers_and_bodies_are_bounded() -> None:
    async with listening(body_bytes=10) as listener:
        for request in (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MAX_HEADER + b"\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n" + b"x" * 11,
        ):
            client = await Client.to(listener.port)
            await client.send(request)
            assert b"200 OK" not in await client.read_all()
            client.close()


# Beside Tornado's own


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


# When descriptors run out


class Accepting:
    """Stands in for a listening socket: each accept gives the next outcome, then there is nobody."""

    def __init__(self, real: socket.socket, *outcomes: OSError | None) -> None:
        self._real = real
        self.outcomes = list(outcomes)
        self.accepted = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.accepted += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome
        return self._real.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def accepting(listener: Listener, *outcomes: OSError | None) -> Accepting:
    stand_in = Accepting(listener._sockets[0], *outcomes)
    listener._sockets[0] = stand_in  # type: ignore[call-overload]
    return stand_in


def exhausted() -> OSError:
    return OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class Later:
    """The loop, but what is to be done later is done when the test says so."""

    READ = IOLoop.READ

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def current(self) -> "Later":
        return self

    def call_later(self, delay: float, callback: Callable[..., None], *args: object) -> object:
        call = (delay, lambda: callback(*args))
        self.calls.append(call)
        return call

    def remove_timeout(self, call: tuple[float, Callable[[], None]]) -> None:
        self.calls.remove(call)

    def __getattr__(self, name: str) -> Any:
        return getattr(IOLoop.current(), name)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    later = Later()
    monkeypatch.setattr(module, "IOLoop", later)
    return later


@pytest.mark.gen_test
async def test_backs_off_when_descriptors_run_out(later: Later, clock: Clock) -> None:
    listener = Listener(Application([("/", Hello)]), "127.0.0.1", 0, clock=clock)
    stand_in = accepting(listener, *[exhausted() for _ in range(6)])
    with capture_logs() as logs:
        listener.start()
        client = await Client.to(listener.port)
        await client.request("/")
        for number in range(6):
            await until(lambda: later.calls)
            assert stand_in.accepted == number + 1, "it does not spin"
            delay, again = later.calls.pop()
            assert delay == BACK_OFF
            clock.advance(delay)
            again()
        assert (await client.response()).body == b"hello", "the connection waited in the kernel"
    assert [entry["problem"] for entry in logs] == ["Too many open files"] * 2, "one line a second at most"
    client.close()
    await listener.close()


@pytest.mark.gen_test
async def test_can_be_closed_while_it_backs_off(later: Later) -> None:
    listener = Listener(Application(), "127.0.0.1", 0)
    accepting(listener, exhausted())
    listener.start()
    client = await Client.to(listener.port)
    await until(lambda: later.calls)
    await listener.close()
    assert later.calls == []
    client.close()


@pytest.mark.gen_test
async def test_a_connection_aborted_before_it_is_accepted_does_not_stop_the_others() -> None:
    listener = Listener(Application([("/", Hello)]), "127.0.0.1", 0)
    accepting(listener, ConnectionAbortedError())
    listener.start()
    assert await hello(listener.port) == b"hello"
    await listener.close()


@pytest.mark.gen_test
async def test_no_turn_of_the_loop_accepts_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    listener = Listener(Application([("/", Hello)]), "127.0.0.1", 0)
    stand_in = accepting(listener)
    clients = [await Client.to(listener.port) for _ in range(4)]
    listener._accept(stand_in, 0)  # type: ignore[arg-type]
    assert stand_in.accepted == 2
    listener.start()
    for client in clients:
        await client.request("/")
        assert (await client.response()).body == b"hello"
        client.close()
    await listener.close()


@pytest.mark.gen_test
async def test_an_error_nobody_foresaw_is_not_hidden() -> None:
    listener = Listener(Application(), "127.0.0.1", 0)
    stand_in = accepting(listener, OSError(errno.EBADF, "Bad file descriptor"))
    with pytest.raises(OSError, match="Bad file"):
        listener._accept(stand_in, 0)  # type: ignore[arg-type]
    listener.start()
    await listener.close()


@pytest.mark.gen_test(timeout=30)
async def test_a_process_out_of_descriptors_lives_on_and_comes_back() -> None:
    async with served(descriptors=64) as process:
        stream = await process.opened()
        publisher = await process.client()

        async def publish(text: str) -> None:
            body = json.dumps({"to": "all", "data": text}).encode()
            head = process.bearer() | {"Content-Type": "application/json", "Content-Length": str(len(body))}
            await publisher.request("/sse/publish", head, method="POST")
            await publisher.send(body)
            assert (await publisher.response()).status == 200
            assert await stream.data() == text

        await publish("before")
        crowd = [await process.client() for _ in range(80)]
        await process.until_logged("not accepting connections")
        used, start = process.cpu_seconds(), time.monotonic()
        await publish("in the middle of it")
        lines = await process.until_logged("not accepting connections", 3)
        elapsed = time.monotonic() - start
        assert process.cpu_seconds() - used < 0.3 * elapsed, "it does not spin"
        times = [datetime.fromisoformat(line["time"]) for line in lines]
        assert all((later - sooner).total_seconds() >= 0.99 for sooner, later in pairwise(times))
        await publish("still")
        for client in crowd:
            client.close()
        assert (await process.ask("/healthz")).status == 200
        await publish("after")
        assert {line["event"] for line in process.log} == {"listening", "not accepting connections"}

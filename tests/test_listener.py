import asyncio
import gc
import socket
import warnings

import pytest
from tornado.web import Application

from client_support import Client, until
from listener_support import ROUTES, Held, Hello, hello, listening
from server_support import Clock
from tornado_sse import listener as module
from tornado_sse.connection import Connection
from tornado_sse.handlers.application import GuardedApplication
from tornado_sse.listener import MAX_HEADER, Listener
from tornado_sse.steps import SLICE


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
    assert module.SLOW + module.CUT_EVERY == 9.5
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
        for seconds, left in ((0, 2), (4, 2), (1, 1), (3, 1), (1, 0)):
            clock.advance(seconds)
            await listener._cut()
            assert len(listener.connections) == left
        for client in clients:
            assert await client.read() == b""
            client.close()


@pytest.mark.gen_test
async def test_others_have_their_turn_while_many_are_cut(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Connection.cut

    def take_time(connection: Connection) -> None:
        cut(connection)
        clock.advance(SLICE / 2)

    monkeypatch.setattr(Connection, "cut", take_time)
    async with listening(clock=clock) as listener:
        clients = [await Client.to(listener.port) for _ in range(6)]
        await until(lambda: len(listener.connections) == 6)
        clock.advance(module.SLOW)
        cutting = asyncio.ensure_future(listener._cut())
        await asyncio.sleep(0)
        assert len(listener.connections) == 4
        await cutting
        assert not listener.connections
        for client in clients:
            assert await client.read() == b""
            client.close()


@pytest.mark.gen_test
async def test_who_is_heard_of_while_others_are_cut_stays(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Connection.cut
    async with listening(clock=clock) as listener:
        clients = [await Client.to(listener.port) for _ in range(2)]
        await until(lambda: len(listener.connections) == 2)

        def hear_of_the_other(connection: Connection) -> None:
            cut(connection)
            for other in listener.connections:
                listener.expect(other)

        monkeypatch.setattr(Connection, "cut", hear_of_the_other)
        clock.advance(module.SLOW)
        await listener._cut()
        assert len(listener.connections) == 1
        for client in clients:
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
        await listener._cut()
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
        await listener._cut()
        assert len(listener.connections) == 1
        Held.waiting[0].set()
        assert (await client.response()).body == b"hello"
        client.close()


LAST = [
    "HTTP/1.0",
    "HTTP/1.1\r\nConnection: close",
    "HTTP/1.1\r\nX: 1\r\nX: 2\r\nConnection: close",
    "HTTP/1.1\r\nHost: b",
]


@pytest.mark.parametrize("last", LAST)
@pytest.mark.gen_test
async def test_what_is_sent_behind_the_last_request_is_not_served(last: str) -> None:
    served: list[str] = []
    application = GuardedApplication(ROUTES, log_function=lambda handler: served.append(handler.request.path))
    listener = Listener(application, "127.0.0.1", 0)
    listener.start()
    client = await Client.to(listener.port)
    await client.send(f"GET / {last}\r\nHost: a\r\n\r\nGET /account HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    await client.read_all()
    assert await hello(listener.port) == b"hello"
    assert "/account" not in served
    client.close()
    await listener.close()


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

"""A listener when descriptors run out."""

import errno
import json
import os
import socket
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs
from tornado.ioloop import IOLoop
from tornado.web import Application

from client_support import Client, until
from listener_support import Hello, hello
from serve_support import served
from server_support import Clock
from tornado_sse import listener as module
from tornado_sse.listener import BACK_OFF, Listener
from tornado_sse.stats import Stats


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
    stats = Stats()
    listener = Listener(Application([("/", Hello)]), "127.0.0.1", 0, stats=stats, clock=clock)
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
    assert stats.accept_failures == 6
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

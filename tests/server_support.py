"""A real server on loopback, in the test's loop or in a thread of its own."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from client_support import DEADLINE, Client, Response
from tornado_sse import tokens
from tornado_sse.app import EventServer
from tornado_sse.brokers.base import Broker
from tornado_sse.config import Settings
from tornado_sse.handlers.routes import application
from tornado_sse.listener import Listener
from tornado_sse.registry import Clocks
from tornado_sse.steps import SLICE
from tornado_sse.stream import Stream

SECRET = "a secret for the tests, made of 40 bytes"
T = TypeVar("T")


class Clock:
    """Time that passes when it is told to: unix time, and the same as monotonic time."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    @property
    def clocks(self) -> Clocks:
        return Clocks(self, self)


def costly_steps(clock: Clock, count: int, made: list[int]) -> Iterator[None]:
    """Steps of which three take a slice."""
    for number in range(count):
        made.append(number)
        clock.advance(SLICE / 2.5)
        yield


def token(user: str = "u1", *, now: float | None = None, ttl: float = 3600.0, **claims: Any) -> str:
    """Sign a token; it may subscribe to any channel and publish, unless told otherwise."""
    claims = {"channels": ["*"], "scopes": ["subscribe", "publish"]} | claims
    return tokens.sign(SECRET, user=user, ttl=ttl, now=time.time() if now is None else now, **claims)


def bearer(user: str = "u1", **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(user, **claims)}"}


@dataclass
class Target:
    """A server to talk to, and the clients that do."""

    port: int
    admin_port: int
    now: Callable[[], float]
    clients: list[Client] = field(default_factory=list, init=False)

    async def client(self, *, admin: bool = False, receive_buffer: int | None = None) -> Client:
        client = await Client.to(self.admin_port if admin else self.port, receive_buffer)
        self.clients.append(client)
        return client

    def bearer(self, user: str = "u1", **claims: Any) -> dict[str, str]:
        return bearer(user, now=self.now(), **claims)

    async def ask(
        self,
        target: str,
        headers: dict[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes = b"",
        admin: bool = False,
        user: str | None = "u1",
    ) -> Response:
        """Make one request, as `user` unless None."""
        client = await self.client(admin=admin)
        every = {"Connection": "close"} | (self.bearer(user) if user else {}) | (headers or {})
        if body:
            every["Content-Length"] = str(len(body))
        await client.request(target, every, method=method)
        await client.send(body)
        return await client.response(to_head=method == "HEAD")

    async def connect(
        self,
        session: str = "s1",
        *,
        user: str = "u1",
        query: str = "",
        headers: dict[str, str] | None = None,
        version: str = "1.1",
        receive_buffer: int | None = None,
        **claims: Any,
    ) -> Client:
        """Open a stream; its head is read, the rest is not."""
        client = await self.client(receive_buffer=receive_buffer)
        every = self.bearer(user, **claims) | {"Accept": "text/event-stream"} | (headers or {})
        await client.request(f"/sse/connect/{session}{query}", every, version=version)
        await client.streaming()
        return client

    async def opened(self, session: str = "s1", **options: Any) -> Client:
        """Open a stream and read what it begins with."""
        client = await self.connect(session, **options)
        await client.block()
        return client

    def close_clients(self) -> None:
        for client in self.clients:
            client.close()


@dataclass
class Served(Target):
    """A server in the test's own loop."""

    server: EventServer

    @property
    def streams(self) -> list[Stream]:
        return list(self.server.registry.hub.streams)


@asynccontextmanager
async def serving(
    clock: Clock | None = None, broker: Broker | str | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """Serve in the running loop, on free ports; `broker` is one, or the setting."""
    settings = {"jwt_secret": SECRET, "port": 0, "admin_port": 0} | settings
    if isinstance(broker, str):
        settings["broker"], broker = broker, None
    clocks = clock.clocks if clock else Clocks(time.monotonic, time.time)
    server = EventServer(Settings(**settings), broker, clocks)
    public = Listener(application(server, server.routes()), server.settings.host, server.settings.port)
    admin = Listener(application(server, server.admin_routes()), server.settings.admin_host, server.settings.admin_port)
    node = Served(public.port, admin.port, clocks.wall, server)
    await server.start()
    public.start()
    admin.start()
    try:
        yield node
    finally:
        node.close_clients()
        await public.close()
        await admin.close()
        await server.close()


@dataclass(frozen=True)
class ThreadedNode:
    """A server in a thread of its own, for tests that block."""

    server: EventServer
    url: str
    admin_url: str
    loop: asyncio.AbstractEventLoop

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine on the server's loop and return its result."""

        async def call() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(DEADLINE)


@contextmanager
def serving_in_thread(**settings: Any) -> Iterator[ThreadedNode]:
    """Serve from a thread."""
    loop = asyncio.new_event_loop()
    nodes: list[Served] = []
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        try:
            async with serving(**settings) as node:
                nodes.append(node)
                ready.set()
                await stop.wait()
        finally:
            ready.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(DEADLINE)
        (node,) = nodes
        yield ThreadedNode(node.server, f"http://127.0.0.1:{node.port}", f"http://127.0.0.1:{node.admin_port}", loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE)
        loop.close()

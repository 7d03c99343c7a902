"""What the tests of outages stand on: engines that can be cut off, killed, and made to forget.

A broker joins by adding its engine to ENGINES.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

import pytest

from broker_support import HISTORY, PATIENCE, NatsBackend, Node
from nats_support import NatsServer
from tcp_proxy import TcpProxy, tcp_proxy
from tornado_sse.brokers.base import Broker
from tornado_sse.topic import Topic
from valkey_support import Valkey, make_terms, redis_broker, valkey

PROBE = 1.0
"""Seconds between two round trips, where an outage is to be noticed by them."""

NOTICED = 3 * PROBE
"""Seconds in which it must be: two of them, and what a busy machine may add. After a third it would be too late."""


class Engine(Protocol):
    """An engine of its own for one test. `far` nodes reach it through a proxy that can stall, `near` ones directly."""

    url: str
    far_url: str
    proxy: TcpProxy
    durable: bool
    """Whether it knows, when it is started again, that it lost nothing."""

    def far(self) -> Broker:
        """Make the broker of a node behind the proxy, not started."""

    def near(self) -> Broker:
        """Make the broker of a node that stays connected while the proxy stalls."""

    def kill(self) -> None:
        """Kill it; what it promised to keep, it keeps."""

    def start(self) -> None:
        """Start it again."""

    def forget(self) -> None:
        """Throw away all that it kept; it is killed before."""


class NatsEngine:
    durable = True

    def __init__(self, server: NatsServer, proxy: TcpProxy) -> None:
        self.proxy = proxy
        self.start, self.kill, self.forget = server.start, server.stop, server.forget
        self._backend = NatsBackend(server.url)
        self.url, self.far_url = server.url, f"nats://127.0.0.1:{proxy.port}"

    def far(self) -> Broker:
        return self._backend.broker_at(self.far_url, PROBE)

    def near(self) -> Broker:
        return self._backend.broker_at(self.url, PROBE)


@asynccontextmanager
async def nats() -> AsyncIterator[Engine]:
    server = NatsServer()
    server.start()
    try:
        async with tcp_proxy(server.port) as proxy:
            yield NatsEngine(server, proxy)
    finally:
        server.close()


class RedisEngine:
    durable = False

    def __init__(self, server: Valkey, proxy: TcpProxy) -> None:
        self.proxy = proxy
        self.start, self.kill, self.forget = server.start, server.kill, server.forget
        self.url, self.far_url = server.url, f"redis://127.0.0.1:{proxy.port}"
        self._terms = make_terms(size=HISTORY, probe=PROBE)

    def far(self) -> Broker:
        return redis_broker(self.far_url, self._terms)

    def near(self) -> Broker:
        return redis_broker(self.url, self._terms)


@asynccontextmanager
async def redis() -> AsyncIterator[Engine]:
    async with valkey("--appendonly", "yes", "--appendfsync", "always") as server, tcp_proxy(server.port) as proxy:
        yield RedisEngine(server, proxy)


EngineFactory = Callable[[], AbstractAsyncContextManager[Engine]]
ENGINES: list[EngineFactory] = [nats, redis]


class Hub:
    """Nodes of one engine, closed at the end."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.nodes: list[Node] = []

    async def node(self, broker: Broker, *topics: Topic) -> Node:
        node = Node(broker)
        await broker.start(node)
        self.nodes.append(node)
        await broker.subscribe(topics)
        await broker.replay(topics, None)
        return node

    async def far(self, *topics: Topic) -> Node:
        return await self.node(self.engine.far(), *topics)

    async def near(self, *topics: Topic) -> Node:
        return await self.node(self.engine.near(), *topics)


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for what no event tells."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def play(factory: EngineFactory, scenario: Callable[[Hub], Awaitable[None]]) -> None:
    async def run() -> None:
        async with factory() as engine:
            hub = Hub(engine)
            try:
                await scenario(hub)
            finally:
                for node in hub.nodes:
                    await node.broker.close()

    asyncio.run(run())


Run = Callable[[Callable[[Hub], Awaitable[None]]], None]

EVERY_ENGINE = pytest.mark.parametrize("run", [pytest.param(partial(play, one), id=one.__name__) for one in ENGINES])

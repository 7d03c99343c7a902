"""What the conformance suite of brokers stands on: backends to hold it against, and nodes that remember what they get.

A broker joins by adding its backend to BACKENDS.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import pytest
from nats import connect

from nats_support import shared_server
from support import FakeClock, sequences
from tornado_sse import topic
from tornado_sse.brokers.base import Broker, Command, Published
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.brokers.nats.broker import NatsBroker, Servers
from tornado_sse.brokers.nats.layout import Layout
from tornado_sse.brokers.nats.scribe import Scribe
from tornado_sse.history import History
from tornado_sse.message import Draft, Message
from tornado_sse.publishing import Limits
from tornado_sse.stats import Stats
from tornado_sse.topic import Topic
from valkey_support import RedisBackend, make_terms, valkey

USER, OTHER, CHANNEL = topic.user("u"), topic.user("v"), topic.channel("c")
SESSION = topic.session("u", "s")

PATIENCE = 30.0
"""Seconds that a real broker may take to deliver."""

HISTORY = 20
"""Messages kept for each topic."""

WINDOW = 30.0
"""Seconds in which an idempotency key is remembered."""

NATS_WINDOW = 2.0
"""The same, where a real server has to wait for its end."""


class Backend(Protocol):
    """An engine that brokers connect to, new and empty: all its brokers are nodes of one hub."""

    nodes: int
    """How many nodes it can have at once, 2 meaning two or more."""

    def broker(self) -> Broker:
        """Make the broker of one more node, not started, with a history of HISTORY and a window of WINDOW."""

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for the broker."""

    async def lose_history(self) -> None:
        """Lose all that was kept; brokers are made anew afterwards."""


class MemoryBackend:
    """One process's memory."""

    nodes = 1

    def __init__(self) -> None:
        self.clock = FakeClock()

    def broker(self) -> Broker:
        history = History(size=HISTORY, ttl=300, max_bytes=10**7, clock=self.clock)
        return MemoryBroker(history, idempotency_window=WINDOW, clock=self.clock)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def lose_history(self) -> None:
        """A new broker has a new history anyway."""


@asynccontextmanager
async def memory() -> AsyncIterator[Backend]:
    yield MemoryBackend()


class NatsBackend:
    """One stream of a NATS server that the tests share."""

    nodes = 2

    def __init__(self, url: str) -> None:
        self._url = url
        self.prefix = "t" + secrets.token_hex(6)
        self.layout = Layout(self.prefix, size=HISTORY, ttl=300, max_bytes=10**7, window=NATS_WINDOW)
        self.stats = Stats()
        self._elapsed = 0.0

    def broker(self) -> Broker:
        return self.broker_at(self._url)

    def broker_at(
        self,
        url: str | tuple[str, ...],
        probe: float = 2.0,
        wanted: Layout | None = None,
        options: dict[str, Any] | None = None,
    ) -> NatsBroker:
        return NatsBroker(
            Servers((url,) if isinstance(url, str) else url, lambda: options or {}),
            wanted or self.layout,
            Scribe(
                Limits(65536, 1),
                self.stats,
                clock=lambda: time.monotonic() + self._elapsed,
                wall=lambda: time.time() + self._elapsed,
            ),
            probe=probe,
            stats=self.stats,
        )

    async def pass_time(self, seconds: float) -> None:
        """Let it pass for what the node reckons; keys are forgotten by the server, in its own time."""
        self._elapsed += seconds
        if seconds > WINDOW:
            await asyncio.sleep(NATS_WINDOW * 1.5)

    async def lose_history(self) -> None:
        client = await connect(self._url)
        await client.jetstream().delete_stream(self.prefix)
        await client.close()


@asynccontextmanager
async def nats() -> AsyncIterator[Backend]:
    yield NatsBackend(shared_server().url)


@asynccontextmanager
async def redis() -> AsyncIterator[Backend]:
    async with valkey() as server:
        yield RedisBackend(server, make_terms(size=HISTORY, window=WINDOW))


BackendFactory = Callable[[], AbstractAsyncContextManager[Backend]]
BACKENDS: list[BackendFactory] = [memory, nats, redis]


class Node:
    """A started broker, and what it handed to its node."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.delivered: list[Message] = []
        self.commands: list[Command] = []
        self.heard: list[bytes] = []
        self.holes: list[tuple[int, int]] = []
        self.renewals: list[tuple[str, int]] = []
        self.upto = 0
        self._changed = asyncio.Event()

    def deliver(self, messages: Sequence[Message]) -> None:
        self.delivered.extend(messages)
        self._changed.set()

    def obey(self, command: Command) -> None:
        self.commands.append(command)
        self._changed.set()

    def hear(self, words: bytes) -> None:
        self.heard.append(words)
        self._changed.set()

    def lost(self, first: int, last: int) -> None:
        self.holes.append((first, last))
        self._changed.set()

    def renew(self, epoch: str, upto: int) -> None:
        self.renewals.append((epoch, upto))
        self._changed.set()

    def reached(self, upto: int) -> None:
        self.upto = upto
        self._changed.set()

    @property
    def told(self) -> list[tuple[int, int] | tuple[str, int]]:
        """Of what was lost it was told: holes, and epochs."""
        return [*self.holes, *self.renewals]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_up(self, *, up: bool = True) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.broker.health().up is not up:
                await asyncio.sleep(0.01)

    async def until_seen(self, last: Published) -> None:
        await self.until(lambda: last.position.sequence in sequences(self.delivered))

    def seen(self, *topics: Topic) -> list[int]:
        return sequences([message for message in self.delivered if not set(topics).isdisjoint(message.topics)])

    async def publish(self, *topics: Topic | tuple[Topic, ...]) -> list[Published]:
        return await self.broker.publish([draft(one) for one in topics])


class Cluster:
    """Nodes of one backend, started when asked for and closed at the end."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.started: list[Node] = []

    async def node(self, *topics: Topic) -> Node:
        node = Node(self.backend.broker())
        await node.broker.start(node)
        self.started.append(node)
        if topics:
            await node.broker.subscribe(topics)
        return node

    async def close(self) -> None:
        for node in self.started:
            await node.broker.close()


def draft(
    one: Topic | tuple[Topic, ...], data: str = "x", *, key: str | None = None, ttl: float | None = None
) -> Draft:
    return Draft((one,) if isinstance(one, Topic) else one, data, idempotency_key=key, ttl=ttl)


def positions(published: Sequence[Published]) -> list[int]:
    return [result.position.sequence for result in published]


def rising(numbers: Sequence[int]) -> bool:
    return all(before < after for before, after in pairwise(numbers))


def play(factory: BackendFactory, scenario: Callable[[Cluster], Awaitable[None]]) -> None:
    """Run a scenario on a fresh backend."""

    async def run() -> None:
        async with factory() as backend:
            cluster = Cluster(backend)
            try:
                await scenario(cluster)
            finally:
                await cluster.close()

    asyncio.run(run())


Run = Callable[[Callable[[Cluster], Awaitable[None]]], None]

EVERY_BROKER = pytest.mark.parametrize("run", [pytest.param(partial(play, one), id=one.__name__) for one in BACKENDS])
"""A test's `run` runs its scenario, on each broker in turn."""


async def most_in_a_turn(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, work: Awaitable[object]) -> int:
    """Count the calls of a method in each turn of the loop while the work is done; return the most."""
    original, calls = getattr(owner, name), [0]

    async def count(*arguments: object) -> object:
        calls[-1] += 1
        return await original(*arguments)

    monkeypatch.setattr(owner, name, count)
    doing = asyncio.ensure_future(work)
    while not doing.done():
        calls.append(0)
        await asyncio.sleep(0)
    await doing
    return max(calls)

"""Brokers as those at the other end of a wire: they take their time, and there may be other nodes."""

import asyncio
from collections.abc import Sequence

from server_support import Clock
from tornado_sse.brokers.base import Command, Past
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.errors import Unavailable
from tornado_sse.history import History
from tornado_sse.topic import Topic


class SlowReplay(MemoryBroker):
    """Waits before it gives the past, as a broker at the other end of a wire does; or fails."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(History(size=100, ttl=300, max_bytes=10**6, clock=clock), idempotency_window=120, clock=clock)
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.replays = 0  # that wait
        self.fails = False
        self.ahead = 0
        """How many messages it knows of that the node has not come to, and won't."""
        self.interest: list[Topic] = []

    async def subscribe(self, topics: Sequence[Topic]) -> None:
        self.interest.extend(topics)

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            self.interest.remove(topic)

    async def replay(self, topics: Sequence[Topic], after: int | None) -> Past:
        past = await super().replay(topics, after)
        self.asked.set()
        self.replays += 1
        await self.go_on.wait()
        self.replays -= 1
        if self.fails:
            raise Unavailable("the broker is gone")
        return past._replace(upto=past.upto + self.ahead)


class Hesitant(SlowReplay):
    """Waits before it takes interest."""

    async def subscribe(self, topics: Sequence[Topic]) -> None:
        await super().subscribe(topics)
        self.asked.set()
        await self.go_on.wait()


class Shared(SlowReplay):
    """May have other nodes, and notes what they are told; or can't tell them."""

    alone = False

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.go_on.set()
        self.told: list[Command] = []

    async def announce(self, command: Command) -> None:
        if self.fails:
            raise Unavailable("the broker is gone")
        self.told.append(command)
        await super().announce(command)

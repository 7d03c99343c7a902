"""The time of one connection: subscriptions, what arrives by them, and the round trips that show it is whole."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from nats.aio.msg import Msg

from tornado_sse.brokers.nats import codec, layout
from tornado_sse.brokers.nats.codec import Parcel
from tornado_sse.brokers.nats.feed import Arrival, Feed
from tornado_sse.brokers.nats.layout import Layout
from tornado_sse.brokers.nats.link import Link, Sink
from tornado_sse.brokers.nats.reader import Info, Reader, Stored
from tornado_sse.brokers.nats.resumes import Resumes
from tornado_sse.brokers.nats.scribe import Scribe
from tornado_sse.brokers.nats.shared import Shared
from tornado_sse.errors import Unavailable
from tornado_sse.slices import in_slices, pause

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

AT_ONCE = 64
"""Subscriptions made in one turn of the loop: they take a millisecond or two."""


class Session:
    """Brings what one connection carries into the feed.

    `name` is the node's own, for its probes; `hear` gets what nodes tell. `epoch` is set when the stream is known.
    """

    def __init__(  # noqa: PLR0913 - what a session is made of
        self, link: Link, wanted: Layout, feed: Feed, scribe: Scribe, *, name: str, hear: Callable[[bytes], None]
    ) -> None:
        self.link = link
        self.epoch = ""
        self.last_seen = 0
        self._layout = wanted
        self._feed = feed
        self._scribe = scribe
        self._hear = hear
        self._probes = f"{codec.PROBE}.{name}"
        self.reader = Reader(link, wanted, anchor=self._probes)
        self.now = Shared(self._ask_info)
        self.resumes = Resumes(self.now, self.reader, lambda stored: scribe.kept(self.epoch, stored))
        self._numbers = count()
        self._probe: tuple[bytes, asyncio.Future[int]] | None = None
        self._leader: str | None = None
        self._suspicious = asyncio.Event()
        self._sink = Sink(self._arrived)
        self._subscriptions: dict[str, Subscription] = {}

    async def listen(self, names: Collection[str]) -> None:
        """Subscribe to what is not subscribed to yet. Raises Unavailable."""
        for number, name in enumerate(names):
            if number % AT_ONCE == AT_ONCE - 1:
                await pause()
            if name not in self._subscriptions:
                subscription = await self.link.subscribe(self._layout.live + name, self._sink)
                if name in self._feed.interests and name not in self._subscriptions:
                    self._subscriptions[name] = subscription
                else:  # nobody wants it any more, or somebody was quicker
                    await self.link.unsubscribe([subscription])

    async def leave(self, names: Collection[str]) -> None:
        """Give up subscriptions, unless somebody took interest anew."""
        gone = [self._subscriptions.pop(name) for name in names if self._is_idle(name)]
        await self.link.unsubscribe(gone)

    async def leave_idle(self) -> None:
        """Give up what nobody wants any more, of the time when that could not be said yet."""
        await self.leave(list(self._subscriptions))

    def _is_idle(self, name: str) -> bool:
        return name in self._subscriptions and name not in self._feed.interests

    async def begin(self) -> None:
        """Hear of probes, and what nodes tell each other."""
        await self.link.subscribe(self._layout.live + self._probes, Sink(self._probe_arrived))
        await self.link.subscribe(self._layout.nodes, Sink(lambda message: self._hear(message.data)))

    async def run(self, interval: float) -> None:
        """Make sure, every so many seconds, that the connection is whole. Raises Unavailable when it is not."""
        while True:
            await self._check()
            await self._pause(interval)
            if self._suspicious.is_set():
                await self.refill()

    async def refill(self) -> None:
        """Fetch what may have been missed, hand it in, and go on live."""
        self._feed.hold()
        self._suspicious.clear()
        upto = (await self.now()).last
        async for batch in self.reader.everything(self._feed.verified, upto):
            await self._make(self._feed.fill([self._read(stored) for stored in batch], batch[-1].sequence))
        await self._make(self._feed.fill([], upto))
        await self._make(self._feed.resume())

    async def _make(self, steps: Iterator[None]) -> None:
        await in_slices(steps, asyncio.get_running_loop().time)

    def suspect(self) -> None:
        """Have what may have been missed fetched."""
        self._suspicious.set()

    async def _check(self) -> None:
        async with self.link.in_time():
            sequence = await self._round_trip()
        reached = self._feed.reached
        info = await self.now()
        if layout.epoch_of(info.config) != self.epoch:
            raise Unavailable("NATS: history was lost")
        if info.last < reached:
            raise Unavailable("NATS: sequences went back")
        leader, self._leader = self._leader, info.leader
        if leader not in (None, info.leader):  # what the old one had yet to republish is told by nobody
            await self.refill()
        else:
            self._feed.came_back(sequence)

    async def _round_trip(self) -> int:
        """Send a message through the stream; return its sequence once it is back, the way messages come."""
        number = str(next(self._numbers)).encode()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._probe = number, future
        await self.link.send(self._layout.stored + self._probes, number, None)
        return await self.link.within(future)

    async def _pause(self, seconds: float) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (self._suspicious, self.link.closed)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.link.closed.is_set():
            raise Unavailable("NATS closed the connection")

    async def _ask_info(self) -> Info:
        info = await self.reader.present()
        self.last_seen = info.last
        return info

    def _probe_arrived(self, message: Msg) -> None:
        if self._probe and message.data == self._probe[0] and not self._probe[1].done():
            self._probe[1].set_result(int((message.headers or {}).get("Nats-Sequence", 0)))

    def _arrived(self, message: Msg) -> None:
        headers = message.headers or {}
        try:
            sequence, previous = int(headers["Nats-Sequence"]), int(headers["Nats-Last-Sequence"])
        except (KeyError, ValueError):
            self._scribe.count_malformed()  # published past the stream
            return
        parcel = Parcel(message.subject[len(self._layout.live) :], headers, message.data)
        read = partial(self._scribe.live, self.epoch, sequence, parcel)
        self._feed.arrive(Arrival(sequence, parcel.subject, previous, read))

    def _read(self, stored: Stored) -> Arrival:
        return Arrival(stored.sequence, stored.subject, None, partial(self._scribe.missed, self.epoch, stored))

"""The broker on NATS JetStream, as one node has it.

It lives in sessions, each the time of one connection. When a round trip fails the session is over, and another begins:
it joins the stream, takes its subscriptions, and fetches what was missed, before live messages go on.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from nats.aio.msg import Msg

from tornado_sse.brokers.base import Broker, Command, Health, Past, Published, Receiver
from tornado_sse.brokers.nats import codec, layout
from tornado_sse.brokers.nats.codec import Parcel
from tornado_sse.brokers.nats.feed import Feed, Interest
from tornado_sse.brokers.nats.layout import Layout
from tornado_sse.brokers.nats.link import Link, read_answer
from tornado_sse.brokers.nats.reader import Info
from tornado_sse.brokers.nats.scribe import Scribe
from tornado_sse.brokers.nats.session import Session
from tornado_sse.brokers.nats.setup import ensure_stream, renew_epoch
from tornado_sse.errors import Unavailable
from tornado_sse.log import logger
from tornado_sse.message import Draft
from tornado_sse.position import Position
from tornado_sse.stats import Stats
from tornado_sse.topic import ALL, Topic

PAUSE = 0.2
"""Seconds between two attempts to connect."""

SHARED_SUBJECTS = (codec.subject_of(ALL), codec.MANY, codec.COMMAND)
"""What every node listens to."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where NATS is: URLs, and what nats-py's `connect` wants to be let in, which may raise BrokerProblem.

    It is asked anew for each connection: credentials may be renewed.
    """

    urls: tuple[str, ...]
    options: Callable[[], dict[str, Any]] = dict


class NatsBroker(Broker):
    """Keeps history in a JetStream stream, and hears of its messages by subscriptions to this node's topics.

    `probe` is in seconds: the interval of round trips, and the deadline of each step.
    """

    def __init__(self, servers: Servers, wanted: Layout, scribe: Scribe, *, probe: float, stats: Stats) -> None:
        self.epoch = ""
        self._servers = servers
        self._layout = wanted
        self._scribe = scribe
        self._probe = probe
        self._stats = stats
        self._name = secrets.token_hex(8)
        self._feed: Feed  # made at the start
        self._hear: Callable[[bytes], None]  # same
        self._session: Session | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._went_back = False

    async def start(self, receiver: Receiver) -> None:
        """Connect and join the stream, or make it."""
        self._hear = receiver.hear
        self._feed = Feed(receiver, self._suspect)
        for name in SHARED_SUBJECTS:
            self._feed.interests[name] = Interest(count=1)
        self._session = await self._join()
        self._keeper = asyncio.create_task(self._keep(self._session))

    async def close(self) -> None:
        """Leave."""
        session, self._session = self._session, None
        while self._keeper and not self._keeper.done():  # nats-py may swallow a cancellation
            self._keeper.cancel()
            await asyncio.wait([self._keeper], timeout=self._probe)
        if session:
            self._feed.hold()
            await session.link.close()

    async def publish(self, drafts: Sequence[Draft]) -> list[Published]:
        """Send all, then wait for all acknowledgements: it takes one round trip, whatever their number."""
        epoch = self.epoch
        acks = await self._send([codec.encode(draft, idempotent=self._layout.window > 0) for draft in drafts])
        return [Published(Position(epoch, ack["seq"]), duplicate=ack.get("duplicate", False)) for ack in acks]

    async def announce(self, command: Command) -> None:
        """Send it the way of messages, so that it comes behind those published before."""
        await self._send([codec.encode_command(command)])

    async def tell(self, words: bytes) -> None:
        """Send it past the stream, so that it takes neither room nor a sequence."""
        link = self._connected().link
        async with link.in_time():
            await link.send(self._layout.nodes, words, None)

    async def subscribe(self, topics: Sequence[Topic]) -> None:
        """Subscribe to what this node does not hear yet."""
        session = self._connected()
        names = [codec.interest_of(topic) for topic in topics]
        for name in names:
            self._feed.interests.setdefault(name, Interest()).count += 1
        try:
            await session.listen(names)
        except BaseException:
            self.unsubscribe(topics)
            raise

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """Give up subscriptions that nobody wants any more."""
        interests = self._feed.interests
        gone = []
        for name in map(codec.interest_of, topics):
            interests[name].count -= 1
            if not interests[name].count:
                del interests[name]
                gone.append(name)
        if gone and self._session:
            self._spawn(self._session.leave(gone))

    async def replay(self, topics: Sequence[Topic], after: int | None) -> Past:
        """Ask for the present sequence, and if that is above `after` for what was missed."""
        session = self._connected()
        upto = (await session.now()).last
        self._feed.count_from(map(codec.interest_of, topics), upto)
        if after is None or after >= upto:
            return Past((), upto, 0)
        past = await session.resumes.past(topics, after, upto)
        if session is not self._session:
            raise Unavailable("the connection to NATS ended meanwhile")
        return past

    def health(self) -> Health:
        """Up is who is connected, and whose last round trip was answered."""
        session = self._session
        if session is None:
            return Health(up=False)
        return Health(up=True, lag=0 if self._feed.is_live else max(0, session.last_seen - self._feed.reached))

    # Publishing

    async def _send(self, parcels: Sequence[Parcel]) -> list[dict[str, Any]]:
        """Send the parcels and return their acknowledgements in the same order."""
        link = self._connected().link
        if not parcels:
            return []
        with link.expect(lambda messages: len(messages) == len(parcels)) as reply:
            async with link.in_time():
                for number, parcel in enumerate(parcels):
                    subject = self._layout.stored + parcel.subject
                    await link.send(subject, parcel.payload, parcel.headers, f"{reply.subject}.{number}")
            return _acks(await link.within(reply.future))

    # Sessions

    async def _join(self) -> Session:
        """Begin a session: connect, subscribe, catch up. Raises Unavailable, BrokerProblem."""
        options = self._servers.options()
        link = Link(self._probe)
        session = Session(link, self._layout, self._feed, self._scribe, name=self._name, hear=self._hear)
        try:
            await link.connect(self._servers.urls, **options)
            info = await ensure_stream(link, session.reader, self._layout)
            if layout.epoch_of(info.config) == self.epoch and info.last < self._feed.reached:
                await self._judge_step_back(session, info)
            session.epoch = str(layout.epoch_of(info.config))
            await session.begin()
            await session.listen(list(self._feed.interests))
            await self._catch_up(session)
        except BaseException:
            await link.close()
            raise
        return session

    async def _judge_step_back(self, session: Session, info: Info) -> None:
        """Sequences went back: once it may be a server that is behind; twice, and they would be used again."""
        if self._went_back:
            await renew_epoch(session.link, info, self._layout)
        self._went_back = not self._went_back
        raise Unavailable("NATS: sequences went back")

    async def _catch_up(self, session: Session) -> None:
        if session.epoch == self.epoch:
            await session.refill()
            return
        upto = (await session.now()).last
        is_first, self.epoch = not self.epoch, session.epoch
        if is_first:
            self._feed.begin(upto)
        else:
            self._feed.renew(self.epoch, upto)

    async def _keep(self, session: Session | None) -> None:
        """Have a session, always."""
        problem = ""
        while True:
            try:
                if session is None:
                    session = self._session = await self._join()
                    self._spawn(session.leave_idle())
                    self._stats.broker_reconnects += 1
                    logger().info("broker joined", epoch=self.epoch)
                    problem = ""
                await session.run(self._probe)
            except Exception as error:  # noqa: BLE001 - whatever it was, there must be another session
                if str(error) != problem:
                    problem = str(error)
                    logger().warning("broker out of reach", problem=problem)
            if session is not None:
                self._session = None
                await session.link.close()
                session = None
            self._feed.hold()
            self._feed.forget_held()
            await asyncio.sleep(PAUSE)

    def _connected(self) -> Session:
        if self._session is None:
            raise Unavailable("NATS is out of reach")
        return self._session

    def _suspect(self) -> None:
        if self._session:
            self._session.suspect()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _acks(messages: list[Msg]) -> list[dict[str, Any]]:
    """Put acknowledgements in the order of what they are for. Raises Unavailable if one is none."""
    acks = [read_answer(message) for message in sorted(messages, key=lambda one: int(one.subject.rpartition(".")[2]))]
    for ack in acks:
        if error := ack.get("error"):
            raise Unavailable(f"NATS: {error['description']}")
    return acks

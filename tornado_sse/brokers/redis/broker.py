"""The broker itself: keeps a session with the engine's master, and makes up for what was missed between two."""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat

from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, ReadOnlyError, RedisError

from tornado_sse.brokers.base import Broker, BrokerProblem, Command, Health, Past, Published, Receiver
from tornado_sse.brokers.redis import codec
from tornado_sse.brokers.redis.address import Engine
from tornado_sse.brokers.redis.inbox import Inbox
from tornado_sse.brokers.redis.interest import Interest
from tornado_sse.brokers.redis.session import Changes, Hub, InDoubt, Session, Terms
from tornado_sse.errors import Unavailable
from tornado_sse.log import logger
from tornado_sse.message import Draft
from tornado_sse.slices import in_slices
from tornado_sse.stats import Stats
from tornado_sse.topic import Topic

FAULTS = (RedisError, OSError, TimeoutError, InDoubt)
"""How a session fails."""

REFUSALS = (AuthenticationError, NoPermissionError)
"""How the engine says that it won't let us in."""

PAUSES = (0.1, 0.2, 0.4, 0.8)
"""Seconds before the next try to connect; the last one again and again."""


class RedisBroker(Broker):
    """A node of the hub that `terms.prefix` names in `engine`."""

    def __init__(self, engine: Engine, terms: Terms, *, stats: Stats, clock: Callable[[], float]) -> None:
        self.epoch = ""
        self._engine = engine
        self._terms = terms
        self._stats = stats
        self._clock = clock
        self._ahead = 0.0
        self._acknowledged = -math.inf
        self._master = b""
        self._interest = Interest()
        self._settling: asyncio.Task[None] | None = None
        self._arrived: list[codec.Entry] = []
        self._up = asyncio.Event()
        self._inbox: Inbox
        self._receiver: Receiver
        self._session: Session | None = None
        self._runner: asyncio.Task[None] | None = None
        self._leaving = False

    async def start(self, receiver: Receiver) -> None:
        """Connect and join the hub, or found it."""
        self._leaving = False
        self._receiver = receiver
        self._inbox = Inbox(receiver, self._stats, self._accepted_at, self._clock)
        try:
            session = await self._open()
        except REFUSALS as fault:
            raise BrokerProblem(f"Redis: {fault}") from fault
        except FAULTS as fault:
            raise Unavailable(f"Redis: {str(fault) or 'no answer in time'}") from fault
        self.epoch = session.hub.epoch
        self._inbox.begin(self.epoch, session.hub.sequence)
        self._runner = asyncio.create_task(self._run(session))
        try:
            async with asyncio.timeout(2 * self._terms.probe):
                await self._up.wait()
        except BaseException as fault:
            await self.close()
            if isinstance(fault, TimeoutError):
                raise Unavailable("Redis is gone again") from fault
            raise

    async def close(self) -> None:
        """Leave the hub."""
        self._leaving = True
        for task in (self._runner, self._settling):
            while task and not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=self._terms.probe)
        await self._engine.close()

    async def publish(self, drafts: Sequence[Draft]) -> list[Published]:
        """Publish in one step of the engine."""
        return codec.read_receipts(await self._publish(codec.draft_arguments(drafts))) if drafts else []

    async def announce(self, command: Command) -> None:
        """Tell every node, as a message to a topic of its own."""
        await self._publish(codec.command_arguments(command))

    async def tell(self, words: bytes) -> None:
        """Publish it past the script, so that it is neither numbered nor kept."""
        try:
            await self._need().tell(words)
        except FAULTS as fault:
            raise _unavailable(fault) from fault

    async def subscribe(self, topics: Sequence[Topic]) -> None:
        """Take interest."""
        session = self._need()
        self._interest.add(topics)
        try:
            await asyncio.shield(self._settle(session))
        except BaseException as fault:
            self.unsubscribe(topics)
            if isinstance(fault, FAULTS):
                raise _unavailable(fault) from fault
            raise

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """Give up interest; the engine is told soon."""
        self._interest.remove(topics)
        if self._session and self._serves(self._session):
            self._settle(self._session)

    async def replay(self, topics: Sequence[Topic], after: int | None) -> Past:
        """Read the history, up to what the engine has now."""
        session = self._need()
        names = [] if after is None else [codec.topic_name(topic) for topic in topics]
        try:
            found = await session.replay(names, after or 0)
        except FAULTS as fault:
            raise _unavailable(fault) from fault
        if found.epoch != self.epoch:
            session.doubt("another epoch")
            raise Unavailable("the broker's history has just changed; try again")
        return Past(tuple(self._inbox.past(found.entries)), found.sequence, found.lost)

    def health(self) -> Health:
        """Up: the last probe came back. Behind: what waits for a hole to be filled."""
        session = self._session
        return Health(session is not None and self._serves(session), self._inbox.waiting if session else 0)

    # Publishing

    async def _publish(self, words: Iterable[codec.Word]) -> Sequence[bytes | int]:
        session = self._need()
        try:
            answer = await session.publish(words)
        except FAULTS as fault:
            if isinstance(fault, ReadOnlyError | NoScriptError) or str(fault).startswith("STALE"):
                session.doubt(str(fault))
            raise _unavailable(fault) from fault
        self._acknowledged = self._clock()
        return answer

    def _need(self) -> Session:
        if self._session is None or not self._serves(self._session):
            raise Unavailable("the broker is out of reach; try again")
        return self._session

    def _serves(self, session: Session) -> bool:
        return self._up.is_set() and session.trusted

    # Interest

    def _settle(self, session: Session) -> asyncio.Task[None]:
        """Tell the engine of changes in interest, all of this turn of the loop together."""
        if self._settling is None:
            self._settling = asyncio.create_task(self._tell(session))
            self._settling.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._settling

    async def _tell(self, session: Session) -> None:
        self._settling = None
        await session.listen(self._changes)

    def _changes(self) -> Changes:
        wanted, unwanted = self._interest.changes()
        return map(codec.topic_name, wanted), map(codec.topic_name, unwanted)

    # What comes in

    def _live(self, data: bytes) -> None:
        try:
            entry = codec.read_entry(data)
        except codec.Malformed:
            self._stats.messages_malformed += 1
            return
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._hand_in)
        self._arrived.append(entry)

    def _hand_in(self) -> None:
        """Hand in what came in this turn of the loop; of another epoch nothing, for there may be a hole before it."""
        arrived, self._arrived = self._arrived, []
        known = [entry for entry in arrived if entry.epoch == self.epoch]
        if len(known) < len(arrived) and self._session:
            self._session.doubt("another epoch")
        self._inbox.take(known)

    def _reached(self, sequence: int) -> None:
        if self._session is not None:
            self._inbox.reach(sequence)

    def _accepted_at(self, at: int) -> float:
        return min(at / 1000 - self._ahead, self._clock())

    # Sessions

    async def _run(self, session: Session) -> None:
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(session.watch())
                    tasks.create_task(session.follow())
                    tasks.create_task(self._join(session))
            except* FAULTS as faults:
                logger().warning("broker out of reach", problem=repr(faults.exceptions[0]))
            finally:
                self._up.clear()
                self._inbox.hold()
                self._session = None
                await session.close()
            if self._leaving:  # a cancellation that meets a fault is lost in the task group
                return
            session = await self._reopen()
            self._stats.broker_reconnects += 1

    async def _join(self, session: Session) -> None:
        """Listen first, then fill in what was missed, then go live."""
        self._session = session
        self._inbox.hold()
        self._renew(session.hub)
        self._interest.begin()
        await session.listen(lambda: ([codec.COMMANDS], []))
        await session.listen(self._changes)
        names = chain([codec.COMMANDS], map(codec.topic_name, list(self._interest)))
        past = await session.replay_many(names, self._inbox.reached)
        self._stats.messages_malformed += past.malformed
        await in_slices(self._inbox.fill(past.entries, past.sequence, past.lost), self._clock)
        self._up.set()
        self._settle(session)
        logger().info("broker joined", epoch=self.epoch, sequence=past.sequence)

    def _renew(self, hub: Hub) -> None:
        if hub.epoch == self.epoch:
            return
        self.epoch = hub.epoch
        self._inbox.begin(hub.epoch, min(hub.base, self._inbox.reached))
        self._receiver.renew(hub.epoch, self._inbox.reached)

    async def _reopen(self) -> Session:
        pauses = chain(PAUSES, repeat(PAUSES[-1]))
        while True:
            try:
                return await self._open()
            except FAULTS:
                await asyncio.sleep(next(pauses))

    async def _open(self) -> Session:
        session = await Session.open(
            self._engine,
            self._terms,
            live=self._live,
            hear=self._receiver.hear,
            reached=self._reached,
            is_doubtful=self._is_doubtful,
            clock=self._clock,
        )
        self._master = session.hub.run
        self._ahead = session.hub.ahead
        return session

    def _is_doubtful(self, hub: Hub) -> bool:
        """Whether somebody may have missed something of the epoch without having been told.

        A master that was demoted may have gone on to acknowledge, a while into the new epoch, what the new one and
        those who had joined it never saw.
        """
        return hub.run != self._master and self._acknowledged > hub.since


def _unavailable(fault: BaseException) -> Unavailable:
    return Unavailable(f"the broker failed: {type(fault).__name__}; try again")

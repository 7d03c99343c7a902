"""A session with the engine's master: one link for commands, one for the live channel, until something is in doubt."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any, NoReturn

from redis.exceptions import RedisError

from tornado_sse.brokers.redis.address import Address, Engine
from tornado_sse.brokers.redis.codec import Replayed, Word, read_replay
from tornado_sse.brokers.redis.link import Link
from tornado_sse.brokers.redis.scripts import ATTACH, PUBLISH, REPLAY
from tornado_sse.slices import pause
from tornado_sse.steps import in_steps

ASKED = 128
"""Topics in one question. What is asked for in between, a probe above all, need not wait for long."""

Changes = tuple[Iterable[str], Iterable[str]]
"""Topics to subscribe to, and topics to unsubscribe from."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all nodes of a hub have in common: `prefix` of keys and channels, and what is kept how long.

    `size` messages of each topic, for `age` seconds; idempotency keys for `window` seconds (0: none), the last `keys`;
    of `topics` the newest sequence. `probe` is the seconds between two probes, and until one counts as failed.
    """

    prefix: str
    size: int
    age: float
    window: float
    keys: int
    topics: int
    probe: float

    @property
    def words(self) -> tuple[int, int, int, int, int]:
        """The terms as attach.lua takes them, times in milliseconds."""
        return self.size, round(self.age * 1000), round(self.window * 1000), self.topics, self.keys


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub as it was found: its epoch began above sequence `base`, at `since` of the node's monotonic clock.

    The engine's unix time is `ahead` of that clock; `run` is the master's process.
    """

    epoch: str
    base: int
    sequence: int
    since: float
    ahead: float
    run: bytes


class InDoubt(Exception):
    """The session is not to be trusted any more."""


class Session:
    """Use `open`.

    `live(data)` gets what comes in through the channel, `hear(words)` what nodes tell; `reached(sequence)`: up to there
    it all came.
    """

    def __init__(  # noqa: PLR0913 - what a session is made of
        self,
        engine: Engine,
        address: Address,
        terms: Terms,
        *,
        live: Callable[[bytes], None],
        hear: Callable[[bytes], None],
        reached: Callable[[int], None],
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._address = address
        self._terms = terms
        self._live = live
        self._hear = hear
        self._reached = reached
        self._clock = clock
        self._calls: Link
        self._feed: Link
        self._links: list[Link] = []
        self._doubt: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._nodes_channel = f"{terms.prefix}:nodes"
        self._probe_channel = self._key("probe", secrets.token_hex(8))
        self._echo = b""
        self._echoed = asyncio.Event()
        self._listening = asyncio.Lock()
        self.hub: Hub

    @classmethod
    async def open(  # noqa: PLR0913 - what a session is made of
        cls,
        engine: Engine,
        terms: Terms,
        *,
        live: Callable[[bytes], None],
        hear: Callable[[bytes], None],
        reached: Callable[[int], None],
        is_doubtful: Callable[["Hub"], bool],
        clock: Callable[[], float],
    ) -> "Session":
        """Connect and attach; end the epoch if it is doubtful. Raises RedisError, OSError, TimeoutError, InDoubt."""
        session = cls(engine, await engine.locate(), terms, live=live, hear=hear, reached=reached, clock=clock)
        try:
            async with asyncio.timeout(terms.probe):
                await session._attach(is_doubtful)
        except BaseException:
            await session.close()
            raise
        return session

    async def close(self) -> None:
        """Let go of both links, and be done with it even if cancelled meanwhile."""
        closing = asyncio.gather(*(link.close() for link in self._links))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise

    @property
    def trusted(self) -> bool:
        """Whether nothing is in doubt yet."""
        return not (self._doubt.done() or any(link.is_lost for link in self._links))

    def doubt(self, reason: str) -> None:
        """Have `watch` end the session."""
        if not self._doubt.done():
            self._doubt.set_result(reason)

    async def listen(self, changes: Callable[[], Changes]) -> None:
        """Change what comes in through the channel; on return it does. Raises RedisError.

        `changes` says what to subscribe to and what to unsubscribe from. It is asked when it is this caller's turn: a
        word that still waits to be written must not undo a younger one.
        """
        async with self._listening:
            self._feed.check()
            wanted, unwanted = map(in_steps, changes())
            words = chain(zip(repeat("SUBSCRIBE"), wanted), zip(repeat("UNSUBSCRIBE"), unwanted))
            for number, (verb, names) in enumerate(words):
                if number:
                    await pause()
                await self._feed.tell(verb, *(self._key("live", name) for name in names))
        await self._feed.call("PING", "")

    async def publish(self, words: Iterable[Word]) -> Sequence[bytes | int]:
        """Run publish.lua. Raises RedisError."""
        answer: Sequence[bytes | int] = await self._calls.call("EVALSHA", PUBLISH.sha, 1, self._terms.prefix, *words)
        return answer

    async def tell(self, words: bytes) -> None:
        """Send nodes a word past history. Raises RedisError."""
        await self._calls.call("PUBLISH", self._nodes_channel, words)

    async def replay(self, names: Sequence[str], after: int) -> Replayed:
        """Run replay.lua. Raises RedisError."""
        answer = await self._calls.call("EVALSHA", REPLAY.sha, 1, self._terms.prefix, after + 1, *names)
        return read_replay(answer, after, round(self._terms.age * 1000))

    async def replay_many(self, names: Iterable[str], after: int) -> Replayed:
        """Run replay.lua for any number of topics; complete up to the `sequence` of the first answer."""
        found = [await self.replay(some, after) for some in in_steps(names, ASKED)]
        entries = {entry.sequence: entry for part in found for entry in part.entries}
        return replace(
            found[0],
            entries=[entries[number] for number in sorted(entries)],
            lost=max(part.lost for part in found),
            malformed=sum(part.malformed for part in found),
        )

    async def watch(self) -> NoReturn:
        """Probe, and raise when something is in doubt: RedisError, TimeoutError, InDoubt."""
        while True:
            signs: set[asyncio.Future[Any]] = {self._doubt, *(link.lost for link in self._links)}
            done, _ = await asyncio.wait(signs, timeout=self._terms.probe, return_when=asyncio.FIRST_COMPLETED)
            for sign in done:
                raise InDoubt(str(sign.result()))
            async with asyncio.timeout(self._terms.probe):
                await self._round_trip()

    async def follow(self) -> NoReturn:
        """Ask where the master is, again and again, and raise InDoubt when it is elsewhere."""
        while True:
            await asyncio.sleep(self._terms.probe)
            with suppress(RedisError, OSError):  # who can't be asked says nothing against the master
                if await self._engine.locate() != self._address:
                    raise InDoubt("the master is elsewhere")

    async def _attach(self, is_doubtful: Callable[[Hub], bool]) -> None:
        self._calls = await self._link()
        self._feed = await self._link()
        for script in (PUBLISH, REPLAY):
            await self._calls.call("SCRIPT", "LOAD", script.text)
        self.hub = await self._hub(self._calls)
        if is_doubtful(self.hub):
            self.hub = await self._hub(self._calls, end=self.hub.epoch)
        other = await self._hub(self._feed)
        if other.epoch != self.hub.epoch:
            raise InDoubt("the two links lead to different masters")
        await self._feed.tell("SUBSCRIBE", self._probe_channel, self._nodes_channel)
        await self._round_trip()

    async def _link(self) -> Link:
        link = Link(await self._engine.connect(self._address), self._received)
        self._links.append(link)
        return link

    async def _hub(self, link: Link, end: str = "") -> Hub:
        words = ("EVAL", ATTACH.text, 1, self._terms.prefix, *self._terms.words, end)
        asked = self._clock()
        epoch, base, sequence, age, now, run = await link.call(*words)
        ahead = now / 1000 - (asked + self._clock()) / 2
        return Hub(epoch.decode(), base, sequence, asked - age / 1000, ahead, run)

    async def _round_trip(self) -> None:
        """Publish nothing, as any message is published, and wait for a word through the channel."""
        epoch, sequence = await self.publish(())
        if epoch != self.hub.epoch.encode():
            raise InDoubt("another epoch")
        self._echo = secrets.token_bytes(8)
        self._echoed.clear()
        await self._calls.call("PUBLISH", self._probe_channel, self._echo)
        await self._echoed.wait()
        self._reached(int(sequence))

    def _received(self, channel: bytes, data: bytes) -> None:
        if channel == self._probe_channel.encode():
            if data == self._echo:
                self._echoed.set()
        elif channel == self._nodes_channel.encode():
            self._hear(data)
        else:
            self._live(data)

    def _key(self, kind: str, name: str) -> str:
        return f"{self._terms.prefix}:{kind}:{name}"

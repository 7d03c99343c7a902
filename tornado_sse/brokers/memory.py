"""The broker of a single node: history and order in this process's memory, gone with it."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

from tornado_sse.brokers.base import Broker, Command, Health, Past, Published, Receiver
from tornado_sse.errors import Unavailable
from tornado_sse.expiring import ExpiringDict
from tornado_sse.history import History
from tornado_sse.message import Draft, Message, number
from tornado_sse.position import Position
from tornado_sse.ticker import Ticker
from tornado_sse.topic import Topic

SWEEP_EVERY = 1.0
"""Seconds between two sweeps of history and of idempotency keys."""

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


class MemoryBroker(Broker):
    """Keeps `history`.

    A repeated idempotency key within `idempotency_window` seconds, and among the last `idempotency_keys`, is the same
    message.
    """

    alone = True

    def __init__(
        self,
        history: History,
        *,
        idempotency_window: float,
        idempotency_keys: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.epoch = "".join(secrets.choice(_BASE36) for _ in range(8))
        self._history = history
        self._seen: ExpiringDict[str, Position] = ExpiringDict(idempotency_window, clock, idempotency_keys)
        self._clock = clock
        self._sequence = 0
        self._closed = False
        self._receiver: Receiver | None = None
        self._sweeping = Ticker(self._sweep, SWEEP_EVERY)

    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver."""
        self._receiver = receiver
        self._sweeping.start()

    async def close(self) -> None:
        """Stop delivering."""
        self._sweeping.stop()
        self._closed = True
        self._receiver = None

    async def publish(self, drafts: Sequence[Draft]) -> list[Published]:
        """Publish at once: nothing is awaited, so that the order of calls is the order of positions."""
        if self._closed:
            raise Unavailable("the server is closed")
        now = self._clock()
        messages: list[Message] = []
        published = [self._number(draft, now, messages) for draft in drafts]
        self._history.extend(messages)
        if self._receiver:
            self._receiver.deliver(messages)
        return published

    def _number(self, draft: Draft, now: float, messages: list[Message]) -> Published:
        if draft.idempotency_key is not None:
            first = self._seen.get(draft.idempotency_key)
            if first is not None:
                return Published(first, duplicate=True)
        self._sequence += 1
        position = Position(self.epoch, self._sequence)
        message = number(draft, position, now)
        messages.append(message)
        if draft.idempotency_key is not None:
            self._seen.set(draft.idempotency_key, position)
        return Published(position, duplicate=False)

    async def subscribe(self, topics: Sequence[Topic]) -> None:
        """Do nothing: the only node gets every message."""

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """Do nothing."""

    async def replay(self, topics: Sequence[Topic], after: int | None) -> Past:
        """Read the history."""
        if after is None or after >= self._sequence:
            return Past((), self._sequence, 0)
        found = self._history.replay(topics, after, self._sequence)
        return Past(found.messages, self._sequence, found.lost)

    async def announce(self, command: Command) -> None:
        """Carry it out here: there is no other node."""
        if self._receiver:
            self._receiver.obey(command)

    async def tell(self, words: bytes) -> None:
        """Hear it: there is no other node."""
        if self._receiver:
            self._receiver.hear(words)

    def health(self) -> Health:
        """Memory is always up."""
        return Health(up=True)

    async def _sweep(self) -> None:
        while any([self._history.sweep(), self._seen.purge()]):  # noqa: ASYNC110 - the streams get their turn, that is all
            await asyncio.sleep(0)

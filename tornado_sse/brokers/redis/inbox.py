"""The inbox: one in-order path into the node, out of the live channel and of what history fills in."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from tornado_sse.brokers.base import Command, Receiver
from tornado_sse.brokers.redis.codec import Entry, Malformed, open_entry
from tornado_sse.message import Message
from tornado_sse.stats import Stats
from tornado_sse.steps import in_steps

Item = Message | Command

OPENED = 16
"""Entries opened in a step: they take half a millisecond."""


class Inbox:
    """Hands entries on to the receiver in the order of their sequences, each once.

    `clock` is the node's monotonic one, and `accepted_at` turns the engine's time in ms into it. `reached` is the
    sequence up to which nothing is to come any more.
    """

    def __init__(
        self, receiver: Receiver, stats: Stats, accepted_at: Callable[[int], float], clock: Callable[[], float]
    ) -> None:
        self._receiver = receiver
        self._stats = stats
        self._accepted_at = accepted_at
        self._clock = clock
        self._held: list[Entry] | None = None
        self.epoch = ""
        self.reached = 0

    @property
    def waiting(self) -> int:
        """How many entries wait for a hole before them to be filled."""
        return len(self._held or ())

    def begin(self, epoch: str, reached: int) -> None:
        """Begin to count above a sequence of an epoch."""
        self.epoch, self.reached = epoch, reached

    def hold(self) -> None:
        """Keep what comes live until `fill`."""
        self._held = []

    def fill(self, entries: Sequence[Entry], upto: int, lost: int) -> Iterator[None]:
        """Take what history had up to a sequence, and then what was held back, step by step.

        `lost` is the highest that is gone.
        """
        first, lost = self.reached + 1, min(lost, upto)
        yield from self._hand_on_all((entry for entry in entries if entry.sequence <= lost), self._unless_over)
        if lost:
            self._receiver.lost(first, lost)
        kept = (entry for entry in entries if lost < entry.sequence <= upto)
        yield from self._hand_on_all(kept, self._unless_over)
        self.reached = max(self.reached, upto)
        while self._held:
            held, self._held = self._held, []
            yield from self._hand_on_all(held, self._open)
        self._held = None
        self._receiver.reached(self.reached)

    def reach(self, upto: int) -> None:
        """Know that nothing up to a sequence is to come live any more."""
        if self._held is None and upto > self.reached:
            self.reached = upto
            self._receiver.reached(upto)

    def take(self, entries: Iterable[Entry]) -> None:
        """Take what came live."""
        if self._held is None:
            self._hand_on(entries, self._open)
        else:
            self._held.extend(entries)

    def past(self, entries: Iterable[Entry]) -> Iterator[Message]:
        """Read the messages of the past that may still be replayed. What is malformed was counted when it came."""
        for entry in entries:
            with suppress(Malformed):
                item = self._read(entry)
                if isinstance(item, Message) and not self._is_over(item):
                    yield item

    def _hand_on_all(self, entries: Iterable[Entry], open_one: Callable[[Entry], Item | None]) -> Iterator[None]:
        for some in in_steps(entries, OPENED):
            self._hand_on(some, open_one)
            yield

    def _hand_on(self, entries: Iterable[Entry], open_one: Callable[[Entry], Item | None]) -> None:
        messages: list[Message] = []
        for entry in entries:
            if entry.sequence <= self.reached:
                continue
            self.reached = entry.sequence
            item = open_one(entry)
            if isinstance(item, Message):
                messages.append(item)
            elif item is not None:
                self._deliver(messages)
                messages = []
                self._receiver.obey(item)
        self._deliver(messages)

    def _open(self, entry: Entry) -> Item | None:
        try:
            return self._read(entry)
        except Malformed:
            self._stats.messages_malformed += 1
            return None

    def _read(self, entry: Entry) -> Item:
        return open_entry(entry, self.epoch, self._accepted_at(entry.at))

    def _unless_over(self, entry: Entry) -> Item | None:
        item = self._open(entry)
        return None if isinstance(item, Message) and self._is_over(item) else item

    def _is_over(self, message: Message) -> bool:
        return message.expires_at is not None and message.expires_at <= self._clock()

    def _deliver(self, messages: list[Message]) -> None:
        if messages:
            self._receiver.deliver(messages)

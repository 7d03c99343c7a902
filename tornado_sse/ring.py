"""A ring of slots: each stream gets its keepalive once a round, and the round is spread evenly over the interval."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

SLOTS = 64


class Slotted(Protocol):
    """Something that stands in a slot of the ring."""

    slot: int


R = TypeVar("R", bound=Slotted)


class Ring(Generic[R]):
    """Passes every item once in each `interval` seconds."""

    def __init__(self, interval: float, now: float) -> None:
        self._step = interval / SLOTS
        self._slots: list[dict[R, None]] = [{} for _ in range(SLOTS)]
        self._next = 0
        self._last = now

    def add(self, item: R) -> None:
        """Take the item in; slots are filled in turn, so that no two differ by much."""
        item.slot = self._next
        self._slots[item.slot][item] = None
        self._next = (self._next + 1) % SLOTS

    def discard(self, item: R) -> None:
        """Let the item go."""
        self._slots[item.slot].pop(item, None)

    def pass_until(self, now: float) -> Iterator[R]:
        """Yield the items of the slots that time has come to; after a long pause each item once, not more often."""
        first = int(self._last / self._step) + 1
        last = int(now / self._step)
        self._last = now
        for step in range(max(first, last - SLOTS + 1), last + 1):
            yield from list(self._slots[step % SLOTS])

"""A mapping whose entries end by themselves, bounded in number."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

PURGE = 1000
"""Entries forgotten in one go: that takes half a millisecond."""

K = TypeVar("K")
V = TypeVar("V")


class ExpiringDict(Generic[K, V]):
    """Keeps each entry for `ttl` seconds of `clock` after it was set; past `limit` entries the oldest goes first."""

    __slots__ = ("_clock", "_entries", "_limit", "_ttl")

    def __init__(self, ttl: float, clock: Callable[[], float], limit: int = 100_000) -> None:
        self._ttl = ttl
        self._clock = clock
        self._limit = limit
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return the value, or None if there is none or its time is over."""
        entry = self._entries.get(key)
        return entry[1] if entry and entry[0] > self._clock() else None

    def set(self, key: K, value: V) -> None:
        """Set or replace the value; its time starts anew."""
        self._entries[key] = (self._clock() + self._ttl, value)
        self._entries.move_to_end(key)
        self.purge(2)  # so that it shrinks while it is used

    def discard(self, key: K) -> None:
        """Forget the entry, if there is one."""
        self._entries.pop(key, None)

    def purge(self, most: int = PURGE) -> bool:
        """Forget some of what is over; return whether there may be more.

        Entries are in the order of their ends, so this looks at no others.
        """
        now = self._clock()
        for _ in range(min(most, len(self._entries))):
            key, (end, _) = next(iter(self._entries.items()))
            if end > now and len(self._entries) <= self._limit:
                return False
            self.discard(key)
        return bool(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

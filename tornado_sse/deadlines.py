"""Deadlines of many things in few objects: a bucket for each second, no timer for each stream."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Due(Protocol):
    """Something with a deadline: `due` is the bucket that it stands in, 0: none."""

    due: int


D = TypeVar("D", bound=Due)


class Deadlines(Generic[D]):
    """Holds each item to a time in seconds, up to one second late. An item has one deadline at most."""

    def __init__(self, now: float) -> None:
        self._buckets: dict[int, dict[D, None]] = {}
        self._passed = int(now)

    def set(self, item: D, at: float) -> None:
        """Set or move the item's deadline; one in the past is due at the next look."""
        self.discard(item)
        item.due = max(int(at) + 1, self._passed + 1)
        self._buckets.setdefault(item.due, {})[item] = None

    def discard(self, item: D) -> None:
        """Give up the item's deadline, if it has one."""
        bucket = self._buckets.get(item.due)
        if bucket is not None:
            bucket.pop(item, None)
            if not bucket:
                del self._buckets[item.due]
        item.due = 0

    def take_due(self, now: float) -> Iterator[D]:
        """Yield what is due and forget it: nothing twice, nor late, even if the clock is set back, or ahead a while."""
        seconds = range(self._passed + 1, int(now) + 1)
        self._passed = int(now)
        due = seconds if len(seconds) < len(self._buckets) else sorted(s for s in self._buckets if s <= now)
        for second in due:
            for item in self._buckets.pop(second, ()):
                if item.due == second:  # else whoever took one before it moved it or gave it up
                    item.due = 0
                    yield item

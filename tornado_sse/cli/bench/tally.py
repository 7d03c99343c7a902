"""What the streams of one process saw: counts, and latencies in buckets whose width grows with the value. Pure."""

import msgspec

_BITS = 6
"""A power of two is parted in 64 buckets, so that a value is known to 1.6%."""


class Histogram(msgspec.Struct):
    """Whole microseconds; what is below 0 counts as 0."""

    counts: list[int] = msgspec.field(default_factory=list)
    total: int = 0
    max: int = 0

    def record(self, value: int) -> None:
        """Count one."""
        value = max(0, value)
        shift = max(0, value.bit_length() - _BITS - 1)
        index = (shift << _BITS) + (value >> shift)
        if index >= len(self.counts):
            self.counts.extend([0] * (index + 1 - len(self.counts)))
        self.counts[index] += 1
        self.total += 1
        self.max = max(self.max, value)

    def merge(self, other: "Histogram") -> None:
        """Count all of the other as well."""
        self.counts.extend([0] * (len(other.counts) - len(self.counts)))
        for index, count in enumerate(other.counts):
            self.counts[index] += count
        self.total += other.total
        self.max = max(self.max, other.max)

    def quantile(self, q: float) -> int | None:
        """Return what `q` (0 to 1) of the values do not exceed, to a bucket's width; None without values."""
        wanted = max(1, min(self.total, round(q * self.total + 0.499)))
        reached = 0
        for index, count in enumerate(self.counts):
            reached += count
            if reached >= wanted:
                return min(self.max, _upper(index))
        return None


def _upper(index: int) -> int:
    shift = max(0, (index >> _BITS) - 1)
    return ((index - (shift << _BITS) + 1) << shift) - 1


class Tally(msgspec.Struct):
    """Counts over all streams.

    `received` are messages, each once a stream; `reordered` of them came after a later one. `gaps` are places where a
    stream skipped messages, that may have come later. `closed` are streams that the server ended. `last` is when a
    message last came, monotonic nanoseconds.
    """

    received: int = 0
    reordered: int = 0
    duplicates: int = 0
    gaps: int = 0
    closed: int = 0
    last: int = 0
    latency: Histogram = msgspec.field(default_factory=Histogram)

    def merge(self, other: "Tally") -> None:
        """Add the other's counts."""
        for name in ("received", "reordered", "duplicates", "gaps", "closed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last = max(self.last, other.last)
        self.latency.merge(other.latency)

"""What the streams of one process saw. Pure."""

import msgspec

from tornado_sse.cli.bench.histogram import Histogram


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

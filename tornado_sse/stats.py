"""The figures of one node: plain integers and histograms, cheap to count, collected when Prometheus scrapes."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets in seconds for what should take milliseconds."""

LONG = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Buckets in seconds for the life of a stream."""


class Histogram:
    """Counts of observed values by bucket; `bounds` are inclusive upper bounds, one more bucket is above them all."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Count a value, seen `count` times."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.sum += value * count


class Stats:
    """Everything counted by one node. Names are those of the metrics, without prefix and unit suffix."""

    def __init__(self) -> None:
        self.streams_opened = 0
        self.streams_closed: Counter[str] = Counter()
        self.connects_rejected: Counter[str] = Counter()
        self.messages_published: Counter[str] = Counter()
        self.messages_delivered = 0
        self.messages_dropped: Counter[str] = Counter()
        self.bytes_sent = 0
        self.keepalives_sent = 0
        self.resumes: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.auth_failures: Counter[str] = Counter()
        self.accept_failures = 0
        self.broker_reconnects = 0
        self.messages_malformed = 0
        self.outbox_bytes = 0
        self.backlogged_streams = 0
        self.canary_failures = 0
        self.canary = Histogram(FAST)
        self.delivery = Histogram(FAST)
        self.fanout = Histogram(FAST)
        self.loop_lag = Histogram(FAST)
        self.connect = Histogram(FAST)
        self.stream_duration = Histogram(LONG)

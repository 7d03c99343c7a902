"""From samples, a second apart, to what the page shows of that second."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate

import msgspec

from tornado_sse.console.operations import Sample
from tornado_sse.stats import FAST

Samples = Mapping[int, Sample | None]
"""By the number of the process; None: no answer."""


class Figures(msgspec.Struct, frozen=True, rename="camel"):
    """One second, over all processes. `at` is unix time.

    Rates are by the second; latencies are in seconds, None: nothing was measured. `closed` counts by reason.
    """

    at: float
    processes: int
    answering: int
    ready: bool
    draining: bool
    broker_up: bool
    streams: int
    sessions: int
    users: int
    outbox_bytes: int
    backlogged: int
    opened: int
    closed: dict[str, int]
    published: float
    delivered: float
    bytes_sent: float
    delivery_median: float | None
    delivery_p99: float | None
    lag: float | None


def between(before: Samples, after: Samples, seconds: float, at: float) -> Figures:
    """Tell what happened in the `seconds` between two looks. A process that was replaced meanwhile begins anew."""
    present = [sample for sample in after.values() if sample]
    pairs = [(old, new) for worker, new in after.items() if new and (old := before.get(worker)) and _goes_on(old, new)]

    def grown(name: str) -> int:
        return sum(getattr(new, name) - getattr(old, name) for old, new in pairs)

    def buckets(name: str) -> list[int]:
        growth = [[b - a for a, b in zip(getattr(old, name), getattr(new, name), strict=True)] for old, new in pairs]
        return [sum(column) for column in zip(*growth, strict=True)]

    delivery = buckets("delivery")
    return Figures(
        at=at,
        processes=len(after),
        answering=len(present),
        ready=any(sample.ready for sample in present),
        draining=any(sample.draining for sample in present),
        broker_up=all(sample.broker_up for sample in present),
        streams=sum(sample.streams for sample in present),
        sessions=sum(sample.sessions for sample in present),
        users=sum(sample.users for sample in present),
        outbox_bytes=sum(sample.outbox_bytes for sample in present),
        backlogged=sum(sample.backlogged for sample in present),
        opened=grown("opened"),
        closed=_closed(pairs),
        published=grown("published") / seconds,
        delivered=grown("delivered") / seconds,
        bytes_sent=grown("bytes_sent") / seconds,
        delivery_median=quantile(delivery, 0.5),
        delivery_p99=quantile(delivery, 0.99),
        lag=quantile(buckets("lag"), 1.0),
    )


def quantile(counts: Sequence[int], share: float, bounds: Sequence[float] = FAST) -> float | None:
    """Estimate a quantile as Prometheus's `histogram_quantile` does; above the last bound it is that. None: no values.

    `counts` are those of a `Histogram`, by bucket.
    """
    total = sum(counts)
    if not total:
        return None
    rank = share * total
    bucket, below = next((n, up) for n, up in enumerate(accumulate(counts)) if up >= rank and counts[n])
    if bucket == len(bounds):
        return bounds[-1]
    low = bounds[bucket - 1] if bucket else 0.0
    into = (rank - (below - counts[bucket])) / counts[bucket]
    return low + (bounds[bucket] - low) * into


def _goes_on(old: Sample, new: Sample) -> bool:
    return new.opened >= old.opened and new.delivered >= old.delivered and sum(new.lag) >= sum(old.lag)


def _closed(pairs: Sequence[tuple[Sample, Sample]]) -> dict[str, int]:
    closed: Counter[str] = Counter()
    for old, new in pairs:
        closed.update(new.closed)
        closed.subtract(old.closed)
    return {reason: count for reason, count in sorted(closed.items()) if count}

"""What a run found, for people and for machines. Pure."""

from dataclasses import dataclass, field

from tornado_sse.cli.bench.tally import Tally

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(slots=True)
class Result:
    """A run's figures.

    `streams` were asked for, `opened` did; `failure` says why the first other did not. `delivery_seconds` are from the
    first publish to the last receipt. `stopped` says what ended it early, None: nothing.
    """

    streams: int
    opened: int = 0
    failure: str = ""
    connect_seconds: float = 0.0
    published: int = 0
    publish_seconds: float = 0.0
    expected: int = 0
    delivery_seconds: float = 0.0
    stopped: str | None = None
    interrupted: bool = False
    tally: Tally = field(default_factory=Tally)

    @property
    def lost(self) -> int:
        """Messages that never came, over all streams."""
        return self.expected - self.tally.received

    @property
    def is_good(self) -> bool:
        """Whether every stream opened and stayed, and nothing was lost."""
        return self.stopped is None and self.opened == self.streams and not self.lost and not self.tally.closed

    def as_json(self) -> dict[str, object]:
        """Return the figures for machines; seconds, but latencies in milliseconds, None where there is none."""
        tally = self.tally
        return {
            "streams": {
                "asked": self.streams,
                "opened": self.opened,
                "closed": tally.closed,
                "seconds": round(self.connect_seconds, 6),
                "per_second": _rate(self.opened, self.connect_seconds),
                "failure": self.failure or None,
            },
            "messages": {
                "published": self.published,
                "seconds": round(self.publish_seconds, 6),
                "per_second": _rate(self.published, self.publish_seconds),
            },
            "deliveries": {
                "expected": self.expected,
                "received": tally.received,
                "lost": self.lost,
                "reordered": tally.reordered,
                "duplicates": tally.duplicates,
                "gaps": tally.gaps,
                "seconds": round(self.delivery_seconds, 6),
                "per_second": _rate(tally.received, self.delivery_seconds),
            },
            "latency_ms": self._latencies(),
            "stopped": self.stopped,
        }

    def as_table(self) -> str:
        """Return the figures for people."""
        tally, latencies = self.tally, self._latencies()
        speed = _per_second(tally.received, self.delivery_seconds)
        rows = {
            "streams": f"{self.opened:,} of {self.streams:,} opened{_per_second(self.opened, self.connect_seconds)}",
            "messages": f"{self.published:,} published{_per_second(self.published, self.publish_seconds)}",
            "deliveries": f"{tally.received:,} of {self.expected:,}{speed}",
            "latency": "   ".join(f"{name} {_milliseconds(value)}" for name, value in latencies.items()),
            "lost": f"{self.lost:,}",
            "out of order": f"{tally.reordered:,}   duplicates {tally.duplicates:,}   gaps {tally.gaps:,}",
            "closed": f"{tally.closed:,} streams, by the server",
        }
        if self.failure:
            rows["not opened"] = f"{self.streams - self.opened:,} streams; the first: {self.failure}"
        return "".join(f"{name:<14}{text}\n" for name, text in rows.items())

    def _latencies(self) -> dict[str, float | None]:
        latency = self.tally.latency
        values = {name: latency.quantile(q) for name, q in QUANTILES.items()} | {"max": latency.quantile(1.0)}
        return {name: None if value is None else value / 1000 for name, value in values.items()}


def _rate(count: int, seconds: float) -> float | None:
    return round(count / seconds, 1) if seconds > 0 else None


def _per_second(count: int, seconds: float) -> str:
    rate = _rate(count, seconds)
    return "" if rate is None else f" in {seconds:,.2f} s, {rate:,.0f} a second"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f} ms"

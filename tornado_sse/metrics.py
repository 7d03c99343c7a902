"""Metrics for Prometheus: reads the figures when scraped, so that counting costs an integer and nothing more.

Labels are small closed sets, each member present from the start: never a user, session, channel, path or agent.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from math import inf

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tornado_sse import __version__
from tornado_sse.admission import Rejection
from tornado_sse.brokers.base import Health
from tornado_sse.errors import AuthFailure
from tornado_sse.notices import CloseReason, GapReason
from tornado_sse.publishing import PublishResult
from tornado_sse.registry import Registry
from tornado_sse.resume import ResumeResult
from tornado_sse.stats import Histogram, Stats

PREFIX = "tornado_sse_"


class DropReason(StrEnum):
    """Why a message that was on its way to a stream did not get there; `closed`: the stream ended first."""

    DROP_OLDEST = "drop-oldest"
    CONFLATE = "conflate"
    CLOSED = "closed"


class NodeCollector(Collector):
    """Collects the figures of one node.

    Everything but the registry is asked at each scrape: flags, the broker's health, and the bounds in force, which a
    reload changes: `max_streams` (0: no cap) and `outbox_budget` in bytes.
    """

    def __init__(  # noqa: PLR0913 - what a node can be asked, all by name
        self,
        registry: Registry,
        *,
        ready: Callable[[], bool],
        draining: Callable[[], bool],
        health: Callable[[], Health],
        max_streams: Callable[[], int],
        outbox_budget: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._ready = ready
        self._draining = draining
        self._health = health
        self._max_streams = max_streams
        self._outbox_budget = outbox_budget

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the node."""
        yield from self._gauges()
        yield from _counters(self._registry.stats)
        yield from _histograms(self._registry.stats)

    def _gauges(self) -> Iterator[Metric]:
        hub, stats, health = self._registry.hub, self._registry.stats, self._health()
        yield _gauge("open_streams", "Event streams open now.", len(hub.streams))
        yield _gauge("open_sessions", "Sessions with an open stream.", len(hub.sessions))
        yield _gauge("connected_users", "Users with an open stream.", len(hub.users))
        yield _gauge("outbox_bytes", "Bytes waiting for slow clients, over all streams.", stats.outbox_bytes)
        yield _gauge("outbox_budget_bytes", "Bytes that may wait before publishing is refused.", self._outbox_budget())
        yield _gauge("backlogged_streams", "Streams with bytes waiting for slow clients.", stats.backlogged_streams)
        yield _gauge("max_streams", "Streams that this node takes at most; 0: no cap.", self._max_streams())
        yield _gauge("ready", "Whether this node takes new streams and messages.", self._ready())
        yield _gauge("draining", "Whether this node is shutting down.", self._draining())
        yield _gauge("broker_up", "Whether the broker would take a message.", health.up)
        yield _gauge("broker_lag", "Messages that this node is known to be behind the broker.", health.lag)
        info = GaugeMetricFamily(PREFIX + "build_info", "The version that runs.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info


def _counters(stats: Stats) -> Iterator[Metric]:
    yield _counter("streams_opened", "Event streams opened.", stats.streams_opened)
    yield _labelled("streams_closed", "Event streams closed.", "reason", CloseReason, stats.streams_closed)
    yield _labelled("connects_rejected", "Connects turned away.", "reason", Rejection, stats.connects_rejected)
    yield _labelled("messages_published", "Messages handed in.", "result", PublishResult, stats.messages_published)
    yield _counter("messages_delivered", "Messages handed to the kernel, once a stream.", stats.messages_delivered)
    yield _labelled("messages_dropped", "Messages not delivered.", "reason", DropReason, stats.messages_dropped)
    yield _counter("bytes_sent", "Bytes handed to the kernel on event streams.", stats.bytes_sent)
    yield _counter("keepalives_sent", "Keepalive comments sent.", stats.keepalives_sent)
    yield _labelled("resumes", "Streams that came back with a position.", "result", ResumeResult, stats.resumes)
    yield _labelled("gaps", "Holes that clients were told of.", "reason", GapReason, stats.gaps)
    yield _labelled("auth_failures", "Requests not let in.", "reason", AuthFailure, stats.auth_failures)
    yield _counter(
        "messages_malformed", "Messages straight from the broker that can't be read.", stats.messages_malformed
    )
    yield _counter("canary_failures", "Messages that the canary did not get in time.", stats.canary_failures)
    yield _counter("accept_failures", "Times that no connection could be accepted.", stats.accept_failures)
    yield _counter("broker_reconnects", "Connections to the broker made anew.", stats.broker_reconnects)


def _histograms(stats: Stats) -> Iterator[Metric]:
    yield _histogram("delivery_seconds", "From a message accepted to its last write.", stats.delivery)
    yield _histogram("fanout_seconds", "From the first to the last write of one fan-out.", stats.fanout)
    yield _histogram("stream_duration_seconds", "Life of a stream.", stats.stream_duration)
    yield _histogram("loop_lag_seconds", "How late the event loop runs its timers.", stats.loop_lag)
    yield _histogram("canary_seconds", "From a publish to the canary's socket.", stats.canary)
    yield _histogram("connect_seconds", "From a connect request to the stream's first bytes.", stats.connect)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _labelled(name: str, text: str, label: str, members: Iterable[StrEnum], counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for member in members:
        family.add_metric([member.value], counts.get(member.value, 0))
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*histogram.bounds, inf), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == inf else str(bound), total))
    return HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=histogram.sum)


def prometheus_registry(node: NodeCollector) -> CollectorRegistry:
    """Make a registry of this node's own: no global one, so that two servers fit in one process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(node)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry

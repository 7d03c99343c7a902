import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from client_support import Client, until
from server_support import Clock, Served, serving
from stream_support import Bench, bench_with
from tornado_sse.brokers.base import Health
from tornado_sse.metrics import PREFIX, DropReason, NodeCollector, prometheus_registry
from tornado_sse.outbox import SlowPolicy

GAUGES = {
    "open_streams": None,
    "open_sessions": None,
    "connected_users": None,
    "outbox_bytes": None,
    "outbox_budget_bytes": None,
    "backlogged_streams": None,
    "max_streams": None,
    "broker_lag": None,
    "draining": None,
    "ready": None,
    "broker_up": None,
    "build_info": "version",
}
COUNTERS = {
    "streams_opened": None,
    "streams_closed": "reason",
    "connects_rejected": "reason",
    "messages_published": "result",
    "messages_delivered": None,
    "messages_dropped": "reason",
    "bytes_sent": None,
    "keepalives_sent": None,
    "resumes": "result",
    "gaps": "reason",
    "auth_failures": "reason",
    "accept_failures": None,
    "broker_reconnects": None,
    "canary_failures": None,
    "messages_malformed": None,
}
HISTOGRAMS = {
    *("delivery_seconds", "fanout_seconds", "stream_duration_seconds"),
    *("loop_lag_seconds", "connect_seconds", "canary_seconds"),
}


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    with bench_with(clock) as bench:
        yield bench


def collector(bench: Bench, **asked: Callable[[], object]) -> NodeCollector:
    node: dict[str, Any] = {
        "ready": lambda: True,
        "draining": lambda: False,
        "health": lambda: Health(up=True),
        "max_streams": lambda: 0,
        "outbox_budget": lambda: 1000,
    }
    return NodeCollector(bench.registry, **node | asked)


def families(bench: Bench) -> dict[str, Metric]:
    return {metric.name.removeprefix(PREFIX): metric for metric in collector(bench).collect()}


def value(bench: Bench, name: str, **labels: str) -> float:
    (sample,) = [
        sample
        for metric in collector(bench).collect()
        for sample in metric.samples
        if sample.name == PREFIX + name and sample.labels == labels
    ]
    return float(sample.value)


def test_every_metric_and_label_of_the_list_and_no_other(bench: Bench) -> None:
    found = families(bench)
    assert {name for name, metric in found.items() if metric.type == "gauge"} == GAUGES.keys()
    assert {name for name, metric in found.items() if metric.type == "counter"} == COUNTERS.keys()
    assert {name for name, metric in found.items() if metric.type == "histogram"} == HISTOGRAMS
    for name, label in (GAUGES | COUNTERS).items():
        assert {frozenset(sample.labels) for sample in found[name].samples} == {frozenset([label] if label else [])}
    assert all(metric.documentation.endswith(".") for metric in found.values())


@pytest.mark.parametrize(
    ("name", "label", "members"),
    [
        (
            "streams_closed",
            "reason",
            "client_gone disconnected expired slow draining replaced write_error limit revoked",
        ),
        ("connects_rejected", "reason", "draining limit address user auth disconnected invalid broker"),
        ("messages_published", "result", "accepted duplicate invalid unavailable"),
        ("messages_dropped", "reason", "drop-oldest conflate closed"),
        ("resumes", "result", "recovered gap"),
        ("gaps", "reason", "evicted epoch unknown slow"),
    ],
)
def test_every_member_of_a_label_is_there_from_the_start(bench: Bench, name: str, label: str, members: str) -> None:
    samples = families(bench)[name].samples
    assert {sample.labels[label]: sample.value for sample in samples} == dict.fromkeys(members.split(), 0)


def test_the_documentation_has_every_metric_every_member_and_no_other(bench: Bench) -> None:
    table = (Path(__file__).parents[1] / "docs" / "http.md").read_text().partition("## Metrics")[2]
    rows = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("| `")]
    said = {re.sub(r"\{.*", "", name): what for names, what in rows for name in re.findall("`(.*?)`", names)}
    samples = [sample for metric in collector(bench).collect() for sample in metric.samples]
    assert {re.sub("_(bucket|sum|count)$", "", sample.name.removeprefix(PREFIX)) for sample in samples} == said.keys()
    for sample in samples:
        for member in (sample.labels.get("reason"), sample.labels.get("result")):
            assert member is None or f"`{member}`" in said[sample.name.removeprefix(PREFIX)], sample


def test_policies_that_drop_are_reasons() -> None:
    assert set(SlowPolicy) - {SlowPolicy.DISCONNECT} < set(DropReason)


def test_gauges_follow_the_registry(bench: Bench) -> None:
    bench.live()
    bench.live()
    bench.live(session="other")
    stream, _ = bench.live(user="v")
    figures = [value(bench, name) for name in ("open_streams", "open_sessions", "connected_users")]
    assert figures == [4, 3, 2]
    stream.abandon()
    bench.backlogged()
    assert value(bench, "outbox_bytes") == bench.stats.outbox_bytes > 0
    assert value(bench, "backlogged_streams") == len(bench.registry.buffered) == 4


@pytest.mark.parametrize(
    ("name", "asked", "answers", "values"),
    [
        ("ready", "ready", [True, False], [1, 0]),
        ("draining", "draining", [False, True], [0, 1]),
        ("broker_up", "health", [Health(up=True), Health(up=False)], [1, 0]),
        ("broker_lag", "health", [Health(up=True), Health(up=True, lag=7)], [0, 7]),
        ("max_streams", "max_streams", [0, 500], [0, 500]),
        ("outbox_budget_bytes", "outbox_budget", [10, 20], [10, 20]),
    ],
)
def test_the_node_is_asked_at_each_scrape(
    bench: Bench, name: str, asked: str, answers: list[object], values: list[float]
) -> None:
    coming = iter(answers)
    node = collector(bench, **{asked: lambda: next(coming)})
    for expected in values:
        (metric,) = [metric for metric in node.collect() if metric.name == PREFIX + name]
        assert metric.samples[0].value == expected


def test_histograms_add_up(bench: Bench) -> None:
    for seconds in (0.0001, 0.0005, 0.002, 100):
        bench.stats.connect.observe(seconds)
    assert value(bench, "connect_seconds_bucket", le="0.0005") == 2
    assert value(bench, "connect_seconds_bucket", le="0.0025") == 3
    assert value(bench, "connect_seconds_bucket", le="10.0") == 3
    assert value(bench, "connect_seconds_bucket", le="+Inf") == 4
    assert value(bench, "connect_seconds_count") == 4
    assert value(bench, "connect_seconds_sum") == pytest.approx(100.0026)


def test_promtool_finds_nothing_to_say(bench: Bench, need_program: Callable[[str], str]) -> None:
    bench.live()
    text = generate_latest(prometheus_registry(collector(bench)))
    found = subprocess.run([need_program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_two_servers_fit_in_one_process(bench: Bench) -> None:
    first, second = (prometheus_registry(collector(bench)) for _ in range(2))
    assert generate_latest(first).count(b"# TYPE tornado_sse_ready gauge") == 1
    assert b"process_cpu_seconds_total" in generate_latest(second)


def test_a_scrape_costs_the_same_however_many_streams_there_are(bench: Bench) -> None:
    def work() -> tuple[int, int]:
        calls = 0

        def count(_frame: object, event: str, _arg: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            samples = sum(len(metric.samples) for metric in collector(bench).collect())
        finally:
            sys.setprofile(None)
        return calls, samples

    bench.live()
    few = work()
    for number in range(100):
        bench.live(user=f"u{number}", session=f"s{number}", channels=(f"c{number}",), address=f"a{number}")
        bench.publish("hello")
    assert work() == few


async def scrape(node: Served) -> dict[str, float]:
    """Every sample of the node's own, its labels behind its name."""
    text = (await node.ask("/metrics", user=None, admin=True)).body.decode()
    return {
        ".".join([sample.name.removeprefix(PREFIX), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        if family.name.startswith(PREFIX)
        for sample in family.samples
    }


async def counted(client: Client) -> tuple[int, int, int]:
    """Read to the end; return how many messages, keepalives and gaps there were."""
    messages = keepalives = gaps = 0
    while (block := await client.block()) is not None:
        messages += block.event is None and block.data is not None
        keepalives += block.comment
        gaps += block.event == "stream-gap"
    return messages, keepalives, gaps


@pytest.mark.gen_test
async def test_figures_are_what_clients_really_received(clock: Clock) -> None:
    async with serving(clock, compression=True, history_size=3, keepalive=15) as node:
        publish = node.server.publish
        start = str((await publish("all", "m0")).position)
        for number in range(5):
            await publish("all", f"m{number}")
        clients = [
            await node.connect("s1"),
            await node.connect("s2", headers={"Accept-Encoding": "gzip"}),
            await node.connect("s3", version="1.0", headers={"Last-Event-ID": start}),
            await node.connect("s4", receive_buffer=4096),
        ]
        reading = asyncio.gather(*[counted(client) for client in clients])
        for _ in range(10):
            await publish({"user": "u1"}, "x" * 60_000)
        await publish({"user": "u1", "session": "s2"}, "only s2")
        await until(lambda: node.server.registry.fanout.idle)
        for _ in range(2):
            clock.advance(1)
            node.server.registry.tick()
            await until(lambda: all(stream.outbox is None for stream in node.streams))
            clock.advance(14)
            node.server.registry.tick()
        await node.server.revoke("u1")
        messages, keepalives, gaps = (sum(column) for column in zip(*await reading, strict=True))
        figures = await scrape(node)
        assert (messages, keepalives, gaps) == (10 * 4 + 1 + 3, 8, 1)
        assert figures["messages_delivered_total"] == messages
        assert figures["keepalives_sent_total"] == keepalives
        assert figures["gaps_total.evicted"] == gaps
        assert figures["bytes_sent_total"] == sum(client.received for client in clients)
        assert figures["messages_published_total.accepted"] == 17
        assert figures["streams_opened_total"] == figures["streams_closed_total.revoked"] == 4
        assert figures["resumes_total.gap"] == 1
        assert figures["open_streams"] == figures["outbox_bytes"] == 0
        assert figures["connect_seconds_count"] == figures["stream_duration_seconds_count"] == 4
        assert figures["delivery_seconds_count"] == 17


@pytest.mark.gen_test
async def test_users_and_sessions_add_no_series() -> None:
    async with serving() as node:
        before = (await scrape(node)).keys()
        for number in range(20):
            await node.opened(f"s{number}", user=f"u{number}", query=f"?channel=c{number}")
        await node.ask("/sse/connect/s1?channel=x", user=None)
        await node.server.publish("all", "hello")
        after = await scrape(node)
        assert after.keys() == before
        assert after["connected_users"] == 20

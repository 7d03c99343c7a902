"""Every alert, tried with promtool: it fires on its fault and on nothing else, and clears afterwards."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from promtool_support import (
    LEVELS,
    PROMETHEUS,
    RATES,
    counts,
    levels,
    rule_test,
    rules,
    run_promtool,
    ups_and_downs,
)
from tornado_sse.config import Settings

ROOT = PROMETHEUS.parents[1]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
BEFORE = 20
ALERTS = [rule for rule in rules() if "alert" in rule]
PREFIX = "TornadoSse"


@dataclass(frozen=True)
class Fault:
    """What series say during a fault: gauges their level, counters what they gain in a minute.

    It lasts `minutes`, and `rest` later all is quiet again, save for the alerts `later`, which look further back. An
    alert named in `too` rightly fires with it.
    """

    alert: str
    series: dict[str, float | None]
    minutes: int = 30
    rest: int = 40
    too: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)


CONNECTS = 'tornado_sse_connects_rejected_total{reason="%s"}'
CLOSED = 'tornado_sse_streams_closed_total{reason="%s"}'
PUBLISHED = 'tornado_sse_messages_published_total{result="%s"}'
CANARY = "tornado_sse_canary_%s"
DELIVERED = "tornado_sse_messages_delivered_total"
GAPS = 'tornado_sse_gaps_total{reason="%s"}'
QUICK = 'tornado_sse_delivery_seconds_bucket{le="0.25"}'

FAULTS = [
    Fault("Down", {"up": 0}),
    Fault("Absent", {"tornado_sse_build_info": None}),
    Fault("WorkerDown", {"tornado_sse_worker_up": 0}),
    Fault("DrainStuck", {"tornado_sse_draining": 1}),
    Fault("StreamsFull", {"tornado_sse_open_streams": 190}),
    Fault("ConnectErrorsFast", {CONNECTS % "broker": 60}, later={"ConnectErrorsSlow"}),
    Fault("ConnectErrorsFast", {CONNECTS % "limit": 60}, later={"ConnectErrorsSlow"}),
    Fault("ConnectErrorsFast", {CLOSED % "limit": 60}, later={"ConnectErrorsSlow"}),
    Fault("ConnectErrorsFast", {CONNECTS % "broker": 10}, minutes=240, too={"ConnectErrorsSlow"}, rest=360),
    Fault("ConnectErrorsSlow", {CONNECTS % "broker": 2}, minutes=360, rest=360),
    Fault("DeliverySlowFast", {QUICK: 400}, later={"DeliverySlowSlow"}),
    Fault("DeliverySlowSlow", {QUICK: 585}, minutes=360, rest=360),
    Fault("CanaryDied", {CANARY % "failures_total": 12, CANARY % "seconds_count": 2}),
    Fault("DeliveriesStopped", {DELIVERED: 0, CANARY % "seconds_count": 0}, too={"CanaryDied"}),
    Fault("DeliveriesStopped", {DELIVERED: 12}),
    Fault("PublishingRefused", {PUBLISHED % "unavailable": 12}),
    Fault("MessagesMalformed", {"tornado_sse_messages_malformed_total": 0.2}),
    Fault("SlowConsumers", {CLOSED % "slow": 2}),
    Fault("OutboxFull", {"tornado_sse_outbox_bytes": 900}),
    Fault("Gaps", {GAPS % "evicted": 2}),
    Fault("Gaps", {GAPS % "slow": 2}),
    Fault("HistoryLost", {GAPS % "epoch": 1}),
    Fault("BrokerDown", {"tornado_sse_broker_up": 0}),
    Fault("BrokerFlapping", {"tornado_sse_broker_reconnects_total": 0.3}),
    Fault("BrokerLag", {"tornado_sse_broker_lag": 5000}),
    Fault("LoopLag", {"tornado_sse_loop_lag_seconds_sum": 20}),
    Fault("Descriptors", {"process_open_fds": 900}),
    Fault("Descriptors", {"tornado_sse_accept_failures_total": 60, "process_open_fds": None}),
    Fault("AuthFailures", {'tornado_sse_auth_failures_total{reason="expired"}': 900}),
]


def series_with(fault: Fault) -> dict[str, str]:
    """All series, hit by the fault."""
    phases = (BEFORE, fault.minutes, fault.rest + 10)
    assert fault.series.keys() <= LEVELS.keys() | RATES.keys()
    gauges = {series: levels(level, fault.series.get(series, level), *phases) for series, level in LEVELS.items()}
    counters = {
        series: counts(rate, rate if (hit := fault.series.get(series, rate)) is None else hit, *phases)
        for series, rate in RATES.items()
    }
    return gauges | counters


def named(alerts: set[str]) -> list[str]:
    return [PREFIX + alert for alert in alerts]


@pytest.fixture
def promtool(need_program: Callable[[str], str]) -> str:
    return need_program("promtool")


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.alert for fault in FAULTS])
def test_alert_fires_on_its_fault_alone_and_clears(fault: Fault, promtool: str, tmp_path: Path) -> None:
    over = BEFORE + fault.minutes
    firing = {
        BEFORE - 1: set[str](),
        over - 1: {fault.alert} | fault.too,
        over + fault.rest: fault.later,
    }
    test = rule_test(series_with(fault), {minute: named(names) for minute, names in firing.items()})
    run_promtool(promtool, test, tmp_path)


def test_restarts_fire_and_clear(promtool: str, tmp_path: Path) -> None:
    series = series_with(Fault("Restarting", {}))
    series["process_start_time_seconds"] = ups_and_downs(1000, BEFORE, 30, 50)
    firing: dict[int, set[str]] = {BEFORE - 1: set(), BEFORE + 29: {"Restarting"}, BEFORE + 70: set()}
    run_promtool(promtool, rule_test(series, {at: named(names) for at, names in firing.items()}), tmp_path)


def test_a_quiet_morning_and_a_service_nobody_uses_fire_nothing(promtool: str, tmp_path: Path) -> None:
    busy = {series: f"0+{rate}x360" for series, rate in RATES.items()}
    idle = dict.fromkeys(RATES, "0x360")
    gauges = {series: f"{level}x360" for series, level in LEVELS.items()}
    for counters in (busy, idle):
        run_promtool(promtool, rule_test(gauges | counters, {60: [], 360: []}), tmp_path)


def test_one_slow_client_of_few_is_no_storm(promtool: str, tmp_path: Path) -> None:
    fault = Fault("SlowConsumers", {CLOSED % "slow": 0.2, "tornado_sse_open_streams": 4})
    run_promtool(promtool, rule_test(series_with(fault), {BEFORE + 29: []}), tmp_path)


def test_every_alert_has_a_fault() -> None:
    assert {PREFIX + fault.alert for fault in FAULTS} | {PREFIX + "Restarting"} == {rule["alert"] for rule in ALERTS}


def test_promtool_finds_nothing_to_say(promtool: str) -> None:
    subprocess.run([promtool, "check", "config", "--lint=all", PROMETHEUS / "prometheus.yml"], check=True)


@pytest.mark.parametrize("alert", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_alert_says_what_it_is_and_leads_to_its_section(alert: dict[str, dict[str, str]]) -> None:
    name, notes = str(alert["alert"]), alert["annotations"]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert notes.keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = notes["runbook_url"].partition("#")
    assert page.endswith("/docs/runbook.md")
    assert anchor == name.lower()
    section = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", RUNBOOK, re.DOTALL | re.MULTILINE)
    assert section, "it has no section in the runbook"
    for part in ("**It means**", "**Look at**", "**Do**"):
        assert part in section[1]


def test_the_runbook_speaks_of_no_other_alert() -> None:
    assert set(re.findall(r"\b(TornadoSse\w+)", RUNBOOK)) == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"--([a-z-]+)", RUNBOOK)) - {"pid", "nofile", "user"}))
def test_a_setting_that_the_runbook_speaks_of_is_one(flag: str) -> None:
    assert flag.replace("-", "_") in Settings.model_fields

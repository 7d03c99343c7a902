"""What operations look at is true: a real Prometheus scrapes a real server under load."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from grafana.dashboard import PATH
from ops_faults import bad_tokens
from ops_load import load
from prometheus_support import HASTE, JOB, prometheus, scaled
from promtool_support import RULES, rules
from serve_support import served
from workers_support import crew, until_ready

SELECTOR = re.compile(r"(?<![\w:])((?:(?:job|worker):)?(?:tornado_sse|process)_\w+(?::\w+)?|up)(?!\w|\()(\{.*?\})?")
"""A metric in PromQL, with what narrows it down."""

BUSY = {"LoopLag", "DeliverySlowFast"}
"""Alerts that may be right about the machine that this runs on."""


@pytest.fixture
def program(need_program: Callable[[str], str]) -> str:
    return need_program("prometheus")


def panel_queries() -> set[str]:
    """Every expression of the dashboard, with its variables put in."""
    panels = json.loads(PATH.read_text())["panels"]
    exprs = {target["expr"] for panel in panels for target in panel.get("targets", ())}
    return {expr.replace("$__rate_interval", "5s").replace("$job", JOB).replace("$instance", ".*") for expr in exprs}


def rule_queries() -> set[str]:
    """What every rule records, and every series that any of them looks at."""
    selectors = {"".join(found) for rule in rules() for found in SELECTOR.findall(rule["expr"])}
    return selectors | {rule["record"] for rule in rules() if "record" in rule}


def test_selectors_are_read() -> None:
    found = SELECTOR.findall(
        'up{job="a"} == 0 or sum by (job, up_to) (rate(tornado_sse_x_total{a="b"}[5m])) > job:tornado_sse_y:rate5m'
    )
    assert ["".join(one) for one in found] == [
        'up{job="a"}',
        'tornado_sse_x_total{a="b"}',
        "job:tornado_sse_y:rate5m",
    ]


@pytest.mark.parametrize(
    ("text", "shorter"),
    [
        ("rate(x[5m])", "rate(x[5000ms])"),
        ("rate(x[3d])", "rate(x[4320000ms])"),
        ("        for: 2m\n        labels:", "        for: 2000ms\n        labels:"),
        ("job:x:rate5m > 0.5", "job:x:rate5m > 0.5"),
        ("alert: for: more", "alert: for: more"),
    ],
)
def test_durations_are_scaled_and_nothing_else(text: str, shorter: str) -> None:
    assert scaled(text, 60) == shorter


def test_every_window_of_the_rules_is_scaled() -> None:
    for path in RULES:
        fast = scaled(path.read_text(), HASTE)
        assert not re.search(r"\[\d+[smhd]\]|for: \d+[smhd]\n", fast)
        assert scaled(fast, 1) == fast


@pytest.mark.slow
@pytest.mark.gen_test(timeout=180)
async def test_every_panel_and_every_rule_has_data_and_a_flood_of_bad_tokens_is_told_of(
    program: str, tmp_path: Path
) -> None:
    async with (
        served(max_streams=1000, canary=0.5) as server,
        load(server),
        prometheus(program, tmp_path, server.admin_port) as asked,
    ):
        assert await asked.missing((panel_queries() | rule_queries()) - {"tornado_sse_worker_up"}) == set()
        assert (await asked.alerts()).keys() <= BUSY
        async with bad_tokens(server):
            await asked.until(lambda firing: "AuthFailures" in firing)
            told = (await asked.alerts())["AuthFailures"]
            assert re.fullmatch(r"tornado-sse: [\d.]+k? requests a second .*", told["annotations"]["summary"])
        await asked.until(lambda firing: "AuthFailures" not in firing)


@pytest.mark.slow
@pytest.mark.gen_test(timeout=180)
async def test_they_have_with_several_workers(program: str, tmp_path: Path) -> None:
    async with crew(max_streams=1000, canary=0.5) as server:
        await until_ready(server)
        async with load(server), prometheus(program, tmp_path, server.admin_port) as asked:
            assert await asked.missing(panel_queries() | rule_queries()) == set()
            assert {series["metric"]["worker"] for series in await asked.now("tornado_sse_ready")} == {"0", "1"}

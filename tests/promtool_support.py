"""Rules tried with promtool: series that are clean, then hit by a fault, then clean again, minute by minute."""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

PROMETHEUS = Path(__file__).parents[1] / "deploy" / "prometheus"
RULES = [PROMETHEUS / "recording.yml", PROMETHEUS / "alerts.yml"]
TARGETS = ['job="tornado-sse",instance="single"', 'job="tornado-sse",instance="crew",worker="0"']
"""Labels of a server alone, and of one of several workers."""

LEVELS: dict[str, float] = {
    "up": 1,
    "process_start_time_seconds": 1_000_000,
    "process_open_fds": 200,
    "process_max_fds": 1000,
    "tornado_sse_build_info": 1,
    "tornado_sse_worker_up": 1,
    "tornado_sse_draining": 0,
    "tornado_sse_open_streams": 100,
    "tornado_sse_max_streams": 200,
    "tornado_sse_outbox_bytes": 10,
    "tornado_sse_outbox_budget_bytes": 1000,
    "tornado_sse_broker_up": 1,
    "tornado_sse_broker_lag": 0,
}
"""What each gauge says while all is well."""

RATES: dict[str, float] = {
    "tornado_sse_streams_opened_total": 600,
    'tornado_sse_streams_closed_total{reason="slow"}': 0.1,
    'tornado_sse_streams_closed_total{reason="limit"}': 0,
    'tornado_sse_streams_closed_total{reason="client_gone"}': 600,
    'tornado_sse_connects_rejected_total{reason="broker"}': 0,
    'tornado_sse_connects_rejected_total{reason="limit"}': 0,
    'tornado_sse_connects_rejected_total{reason="auth"}': 60,
    'tornado_sse_connects_rejected_total{reason="draining"}': 60,
    'tornado_sse_messages_published_total{result="accepted"}': 600,
    'tornado_sse_messages_published_total{result="unavailable"}': 0,
    'tornado_sse_messages_published_total{result="invalid"}': 60,
    "tornado_sse_messages_delivered_total": 6000,
    "tornado_sse_messages_malformed_total": 0,
    "tornado_sse_delivery_seconds_count": 600,
    'tornado_sse_delivery_seconds_bucket{le="0.25"}': 600,
    'tornado_sse_gaps_total{reason="evicted"}': 0.1,
    'tornado_sse_gaps_total{reason="slow"}': 0,
    'tornado_sse_gaps_total{reason="epoch"}': 0,
    'tornado_sse_gaps_total{reason="unknown"}': 60,
    'tornado_sse_auth_failures_total{reason="expired"}': 60,
    "tornado_sse_accept_failures_total": 0,
    "tornado_sse_broker_reconnects_total": 0.01,
    "tornado_sse_loop_lag_seconds_sum": 1,
    "tornado_sse_canary_seconds_count": 12,
    "tornado_sse_canary_failures_total": 0.1,
}
"""What each counter gains in a minute while all is well."""


def levels(clean: float, fault: float | None, before: int, during: int, after: int) -> str:
    """Write a gauge; a fault of None: it is not there."""
    hit = "stale" + f" _x{during - 1}" if fault is None else f"{fault}x{during - 1}"
    return f"{clean}x{before - 1} {hit} {clean}x{after - 1}"


def counts(clean: float, fault: float, before: int, during: int, after: int) -> str:
    """Write a counter that gains so much in a minute."""
    hit, healed = clean * before, clean * before + fault * during
    return f"0+{clean}x{before - 1} {hit}+{fault}x{during - 1} {healed}+{clean}x{after - 1}"


def ups_and_downs(clean: float, before: int, during: int, after: int) -> str:
    """Write a gauge that is another every five minutes of the fault."""
    hit = " ".join(f"{clean + 1 + minute // 5}" for minute in range(during))
    return f"{clean}x{before - 1} {hit} {clean + 1 + during // 5}x{after - 1}"


def with_labels(series: str, target: str) -> str:
    name, _, own = series.partition("{")
    return f"{name}{{{target}" + (f",{own}" if own else "}")


def rule_test(values: Mapping[str, str], firing: Mapping[int, Iterable[str]]) -> dict[str, Any]:
    """Make a test for promtool: what each series is, and which alerts fire, all of them, at which minute.

    Rules are evaluated every two minutes, in a long test every five: that is what costs most.
    """
    return {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": "2m" if max(firing) < 200 else "5m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": with_labels(series, target), "values": text}
                    for series, text in values.items()
                    for target in TARGETS
                ],
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"}) > bool 0',
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)],
                    }
                    for minute, names in firing.items()
                ],
            }
        ],
    }


def run_promtool(promtool: str, test: dict[str, Any], folder: Path) -> None:
    """Have promtool carry it out."""
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump(test))
    found = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def rules() -> list[dict[str, Any]]:
    """Every rule of both files."""
    files = [yaml.safe_load(path.read_text()) for path in RULES]
    return [rule for content in files for group in content["groups"] for rule in group["rules"]]

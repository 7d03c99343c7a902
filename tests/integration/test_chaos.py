"""Short forms of `make chaos` and `make rolling`, and a planted fault that the checker must find.

`CHAOS_SEED` repeats what a run drew by chance.
"""

import asyncio
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import pytest

import nats_support
import nginx_support
from chaos_checker import Fault
from chaos_plan import Blow
from chaos_play import write_details
from chaos_run import SHORT, STILL, chaos
from rolling_run import SHORT as SHORT_ROLLING
from rolling_run import rolling

SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("_programs")]


@pytest.fixture(scope="module")
def _programs() -> None:
    nats_support.program()
    nginx_support.program()


def show(*lines: Iterable[str]) -> None:
    print(f"CHAOS_SEED={SEED}", *(line for part in lines for line in part), sep="\n")  # noqa: T201 - with a failure


def test_killed_stalled_and_restarted_nothing_is_lost_doubled_or_out_of_order(tmp_path: Path) -> None:
    outcome, log = asyncio.run(chaos(SEED, SHORT, tmp_path))
    show(log, outcome.summary())
    write_details(tmp_path, outcome.details())
    assert outcome.verdict.complaints == []
    assert outcome.problems == []
    assert all(any(blow in line for line in log) for blow in Blow)
    assert outcome.verdict.received > 1000


def test_a_broker_that_loses_one_message_in_a_thousand_does_not_pass(tmp_path: Path) -> None:
    outcome, log = asyncio.run(chaos(SEED, STILL, tmp_path, faulty=True))
    show(log, outcome.summary())
    counts = {fault: count for fault, count in outcome.verdict.counts().items() if count}
    assert counts.keys() == {Fault.LOST}
    assert not outcome.passed


@pytest.mark.parametrize("engine", ["nats", pytest.param("redis", marks=pytest.mark.ops)])
def test_a_rolling_deploy_loses_nothing_and_spreads_the_reconnects(tmp_path: Path, engine: str) -> None:
    result = asyncio.run(rolling(SEED, SHORT_ROLLING, tmp_path, engine))
    show(result.summary())
    assert result.outcome.verdict.complaints == []
    assert result.passed

"""Attack: time. Clients come and go, strangers knock and run, messages go out, and nothing may grow or get lost.

`make soak` takes half an hour for it. `SOAK_SEED` repeats what a run drew by chance.
"""

import asyncio
import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from abuse_support import sizes
from soak_run import LEAKY, MIDDLE, SHORT, Size, soak
from soak_verdict import Soak

SEED = os.environ.get("SOAK_SEED") or secrets.token_hex(4)

pytestmark = pytest.mark.slow


def run(size: Size, folder: Path, **options: tuple[str, ...]) -> Soak:
    result = asyncio.run(soak(SEED, size, folder, **options))
    print(f"SOAK_SEED={SEED}", *result.summary(), sep="\n")  # noqa: T201 - with a failure
    return result


@sizes(SHORT, MIDDLE)
def test_counters_are_exact_nothing_leaks_and_memory_is_level(
    size: Size, tmp_path: Path, held: Callable[[str], None]
) -> None:
    result = run(size, tmp_path)
    held(result.figure())
    assert list(result.faults()) == []
    assert result.seen.resumed
    assert result.seen.verdict.received > size.clients


def test_a_server_that_forgets_timers_does_not_pass(tmp_path: Path) -> None:
    result = run(replace(SHORT, patience=1), tmp_path, code=LEAKY)
    assert [fault.partition(":")[0] for fault in result.faults()] == ["held timers"]
    assert not result.passed

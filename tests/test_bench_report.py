from typing import Any

from tornado_sse.cli.bench.report import Result
from tornado_sse.cli.bench.tally import Tally


def figures(**changes: Any) -> Result:
    tally = Tally(received=9)
    tally.latency.record(1500)
    return Result(
        2, opened=2, connect_seconds=0.5, published=5, expected=10, delivery_seconds=2, tally=tally, **changes
    )


def test_the_table_is_for_people() -> None:
    table = figures(failure="429").as_table()
    assert table.splitlines()[:5] == [
        "streams       2 of 2 opened in 0.50 s, 4 a second",
        "messages      5 published",
        "deliveries    9 of 10 in 2.00 s, 4 a second",
        "latency       p50 1.50 ms   p90 1.50 ms   p99 1.50 ms   max 1.50 ms",
        "lost          1",
    ]
    assert "not opened    0 streams; the first: 429\n" in table
    assert "latency       p50 -" in Result(1).as_table()


def test_only_a_run_without_any_fault_is_good() -> None:
    tally = Tally(received=10)
    good = Result(2, opened=2, expected=10, tally=tally)
    assert good.is_good
    assert not figures().is_good
    assert not Result(3, opened=2, expected=10, tally=tally).is_good
    assert not Result(2, opened=2, expected=10, tally=tally, stopped="x").is_good
    assert not Result(2, opened=2, expected=10, tally=Tally(received=10, closed=1)).is_good

from typing import Any

import pytest

from tornado_sse.console.figures import between, quantile
from tornado_sse.console.operations import Sample
from tornado_sse.stats import FAST, Histogram

EMPTY = [0] * (len(FAST) + 1)


def counts(*values: float) -> list[int]:
    histogram = Histogram(FAST)
    for value in values:
        histogram.observe(value)
    return histogram.counts


def sample(**figures: Any) -> Sample:
    zero = dict.fromkeys(
        ("streams", "sessions", "users", "outbox_bytes", "backlogged", "opened", "published", "delivered"), 0
    )
    base: dict[str, Any] = zero | {"bytes_sent": 0, "closed": {}, "delivery": EMPTY, "lag": EMPTY}
    return Sample(**base | {"ready": True, "draining": False, "broker_up": True} | figures)


def test_the_first_look_has_nothing_to_compare_with() -> None:
    figures = between({}, {0: sample(streams=3, opened=5, delivered=100, delivery=counts(0.1))}, 1.0, at=7.0)
    assert (figures.at, figures.streams, figures.opened, figures.delivered) == (7.0, 3, 0, 0.0)
    assert (figures.delivery_p99, figures.lag) == (None, None)


def test_what_grew_is_told_by_the_second() -> None:
    before = sample(opened=5, delivered=100, published=10, bytes_sent=1000, closed={"slow": 1})
    after = sample(opened=8, delivered=300, published=30, bytes_sent=9000, closed={"slow": 1, "expired": 2})
    figures = between({0: before}, {0: after}, 2.0, at=0.0)
    assert (figures.opened, figures.delivered, figures.published, figures.bytes_sent) == (3, 100.0, 10.0, 4000.0)
    assert figures.closed == {"expired": 2}


def test_latency_is_that_of_the_last_second() -> None:
    before = sample(delivery=counts(9.0, 9.0), lag=counts(9.0))
    after = sample(delivery=counts(9.0, 9.0, *[0.02] * 100), lag=counts(9.0, 0.001, 0.002))
    figures = between({0: before}, {0: after}, 1.0, at=0.0)
    assert figures.delivery_median == pytest.approx(0.0175)
    assert 0.02 < (figures.delivery_p99 or 0) < 0.025
    assert figures.lag == 0.0025


def test_processes_add_up() -> None:
    before = {0: sample(delivered=10), 1: sample(delivered=20), 2: sample()}
    after = {
        0: sample(streams=2, users=1, delivered=15, ready=False),
        1: sample(streams=3, users=2, delivered=30, draining=True, broker_up=False),
        2: None,
    }
    figures = between(before, after, 1.0, at=0.0)
    assert (figures.processes, figures.answering) == (3, 2)
    assert (figures.streams, figures.users, figures.delivered) == (5, 3, 15.0)
    assert (figures.ready, figures.draining, figures.broker_up) == (True, True, False)


def test_a_process_that_was_replaced_begins_anew() -> None:
    before = {0: sample(opened=5, delivered=1000, lag=counts(0.1)), 1: sample()}
    after = {0: sample(opened=9, delivered=3), 1: sample(delivered=4)}
    assert between(before, after, 1.0, at=0.0).delivered == 4.0


def test_nobody_answers() -> None:
    figures = between({0: sample()}, {0: None}, 1.0, at=0.0)
    assert (figures.answering, figures.streams, figures.ready, figures.lag) == (0, 0, False, None)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([0.0004], 1.0, 0.0005),
        ([0.0004, 0.0004], 0.5, 0.00025),
        ([0.0004, 0.3], 1.0, 0.5),
        ([99.0], 0.5, 10.0),
    ],
)
def test_quantiles(values: list[float], share: float, expected: float | None) -> None:
    assert quantile(counts(*values), share) == (expected if expected is None else pytest.approx(expected))

"""Figures: histograms, and everything at zero to begin with."""

from itertools import pairwise

import pytest

from tornado_sse.stats import FAST, LONG, Histogram, Stats


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        (-1.0, [1, 0, 0]),
        (0.0, [1, 0, 0]),
        (1.0, [1, 0, 0]),
        (1.001, [0, 1, 0]),
        (5.0, [0, 1, 0]),
        (5.001, [0, 0, 1]),
        (float("inf"), [0, 0, 1]),
    ],
)
def test_a_bound_is_inclusive(value: float, counts: list[int]) -> None:
    histogram = Histogram((1.0, 5.0))
    histogram.observe(value)
    assert histogram.counts == counts
    assert histogram.sum == value


def test_values_add_up() -> None:
    histogram = Histogram((1.0, 5.0))
    for value in (0.5, 2.0, 2.5, 10.0):
        histogram.observe(value)
    assert (histogram.counts, histogram.sum) == ([1, 2, 1], 15.0)


@pytest.mark.parametrize("bounds", [FAST, LONG])
def test_bounds_rise(bounds: tuple[float, ...]) -> None:
    assert all(low < high for low, high in pairwise(bounds))


def test_all_begins_at_zero_and_nodes_share_nothing() -> None:
    stats, other = Stats(), Stats()
    stats.streams_closed["slow"] += 1
    stats.delivery.observe(0.1)
    assert other.streams_closed["slow"] == 0
    assert sum(other.delivery.counts) == 0
    for name, value in vars(other).items():
        assert isinstance(value, Histogram) or not any(value.values() if hasattr(value, "values") else [value]), name

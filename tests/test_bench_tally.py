from hypothesis import given
from hypothesis import strategies as st

from tornado_sse.cli.bench.tally import Histogram, Tally


@given(st.lists(st.integers(-10, 10**9), min_size=1), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_right_to_a_bucket(values: list[int], q: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    ordered = sorted(max(0, value) for value in values)
    exact = ordered[max(0, min(len(values), round(q * len(values) + 0.499)) - 1)]
    found = histogram.quantile(q)
    assert found is not None
    assert exact <= found <= exact * (1 + 1 / 64)
    assert histogram.quantile(1.0) == histogram.max == ordered[-1]


def test_histograms_add_up() -> None:
    small, large, both = Histogram(), Histogram(), Histogram()
    for value in (1, 5):
        small.record(value)
        both.record(value)
    for value in (7, 90_000):
        large.record(value)
        both.record(value)
    small.merge(large)
    assert small == both
    small.merge(Histogram())
    assert small == both


def test_without_values_there_is_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None


def test_tallies_add_up() -> None:
    first = Tally(received=2, gaps=1, closed=1, last=5)
    first.latency.record(7)
    first.merge(Tally(received=1, reordered=1, duplicates=2, last=3))
    assert first == Tally(3, reordered=1, duplicates=2, gaps=1, closed=1, last=5, latency=first.latency)
    assert first.latency.total == 1

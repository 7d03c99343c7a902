from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench_support import BEGIN, RUN
from tornado_sse.cli.bench import marker
from tornado_sse.cli.bench.tally import Tally


def received(*chunks: bytes) -> Tally:
    tally = Tally()
    receiver = marker.Receiver(BEGIN, tally)
    for chunk in chunks:
        receiver.feed(chunk, 5_000_000)
    return tally


def marked(*numbers: int, ns: int = 1_000_000) -> bytes:
    return b"".join(b"data: %bxx@x\n\n" % marker.make(BEGIN, ns, number) for number in numbers)


def test_a_marker_has_the_length_it_says() -> None:
    assert len(marker.make(BEGIN, 12, 3)) == marker.LENGTH
    assert len(BEGIN) == marker.RUN + 2


def test_markers_are_counted_and_timed() -> None:
    tally = received(marked(0, 1), marked(2))
    assert (tally.received, tally.reordered, tally.duplicates, tally.gaps) == (3, 0, 0, 0)
    assert (tally.latency.total, tally.latency.max, tally.last) == (3, 4000, 5_000_000)


@given(st.lists(st.integers(0, 200), max_size=8))
@example(list(range(200)))
def test_where_bytes_are_cut_makes_no_difference(cuts: list[int]) -> None:
    stream = b"@0123 " + marked(0, 1, 2) + b"@0"
    places = [0, *sorted(cuts), len(stream)]
    tally = received(*(stream[a:b] for a, b in pairwise(places)))
    assert (tally.received, tally.gaps) == (3, 0)


def test_markers_of_other_runs_are_not_ours() -> None:
    assert received(marked(0).replace(RUN.encode(), b"ffffffff")).received == 0


@pytest.mark.parametrize(
    ("numbers", "figures"),
    [
        ((0, 2), (2, 0, 0, 1)),
        ((2, 0, 1), (3, 2, 0, 1)),
        ((0, 0), (1, 0, 1, 0)),
        ((2, 0, 0), (2, 1, 1, 1)),
        ((0, 5000, 1), (2, 0, 1, 1)),
        ((1, 5, 3), (3, 1, 0, 2)),
    ],
)
def test_gaps_reordering_and_duplicates_are_told_apart(numbers: tuple[int, ...], figures: tuple[int, ...]) -> None:
    tally = received(marked(*numbers))
    assert (tally.received, tally.reordered, tally.duplicates, tally.gaps) == figures

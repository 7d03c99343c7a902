"""Deadlines: nothing early, nothing more than a second late, nothing twice."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_sse.deadlines import Deadlines


class Item:
    """Something with a deadline."""

    def __init__(self) -> None:
        self.due = 0


def due(deadlines: Deadlines[Item], now: float) -> list[Item]:
    return list(deadlines.take_due(now))


@pytest.mark.parametrize(
    ("at", "not_yet", "now"), [(110.0, 110.9, 111.0), (110.5, 110.99, 111.0), (110.99, 110.995, 111.5)]
)
def test_a_deadline_is_held_to_the_next_whole_second(at: float, not_yet: float, now: float) -> None:
    deadlines: Deadlines[Item] = Deadlines(100.0)
    item = Item()
    deadlines.set(item, at)
    assert due(deadlines, not_yet) == []
    assert due(deadlines, now) == [item]
    assert item.due == 0
    assert due(deadlines, now + 100) == []


@pytest.mark.parametrize("others", [0, 5])
def test_a_deadline_in_the_past_is_due_at_the_next_look(others: int) -> None:
    deadlines: Deadlines[Item] = Deadlines(100.0)
    due(deadlines, 200.5)
    for number in range(others):
        deadlines.set(Item(), 300.0 + number)
    item = Item()
    deadlines.set(item, 50.0)
    assert due(deadlines, 200.9) == []
    assert due(deadlines, 201.0) == [item]


def test_moving_a_deadline_leaves_one() -> None:
    deadlines: Deadlines[Item] = Deadlines(100.0)
    item = Item()
    deadlines.set(item, 110.0)
    deadlines.set(item, 120.0)
    assert due(deadlines, 119.0) == []
    assert due(deadlines, 121.0) == [item]


def test_a_deadline_given_up_is_never_due() -> None:
    deadlines: Deadlines[Item] = Deadlines(100.0)
    item, other = Item(), Item()
    deadlines.set(item, 110.0)
    deadlines.set(other, 110.0)
    deadlines.discard(item)
    deadlines.discard(item)
    assert due(deadlines, 200.0) == [other]


def test_many_buckets_and_a_long_pause_come_in_order() -> None:
    deadlines: Deadlines[Item] = Deadlines(100.0)
    items = [Item() for _ in range(5)]
    for item, at in zip(items, (104.0, 101.0, 103.0, 102.0, 10_000.0), strict=True):
        deadlines.set(item, at)
    assert due(deadlines, 102.0) == [items[1]]
    assert due(deadlines, 9_000.0) == [items[3], items[2], items[0]]


def test_a_clock_set_back_makes_nothing_due_twice() -> None:
    deadlines: Deadlines[Item] = Deadlines(100.0)
    item, later = Item(), Item()
    deadlines.set(item, 110.0)
    deadlines.set(later, 115.0)
    assert due(deadlines, 111.0) == [item]
    assert due(deadlines, 90.0) == []
    assert due(deadlines, 112.0) == []
    assert due(deadlines, 116.0) == [later]


def test_a_clock_that_was_ahead_for_a_while_delays_nothing() -> None:
    deadlines: Deadlines[Item] = Deadlines(100.0)
    assert due(deadlines, 90_000.0) == []
    assert due(deadlines, 101.0) == []
    item = Item()
    deadlines.set(item, 110.0)
    assert due(deadlines, 111.0) == [item]


def test_what_was_given_up_leaves_nothing_behind() -> None:
    deadlines: Deadlines[Item] = Deadlines(100.0)
    for number in range(1000):
        item = Item()
        deadlines.set(item, 200.0 + number)
        deadlines.discard(item)
    assert len(deadlines._buckets) == 0


def test_what_is_moved_or_given_up_while_others_are_taken_is_left_alone() -> None:
    deadlines: Deadlines[Item] = Deadlines(100.0)
    first, moved, given_up = Item(), Item(), Item()
    for item in (first, moved, given_up):
        deadlines.set(item, 110.0)
    taken = deadlines.take_due(111.0)
    assert next(taken) is first
    deadlines.set(moved, 120.0)
    deadlines.discard(given_up)
    assert list(taken) == []
    assert due(deadlines, 121.0) == [moved]


STEPS = st.lists(
    st.tuples(st.just("set"), st.integers(0, 4), st.floats(0, 50))
    | st.tuples(st.just("discard"), st.integers(0, 4), st.just(0.0))
    | st.tuples(st.just("look"), st.just(0), st.floats(0, 20)),
    max_size=60,
)


@given(STEPS)
def test_each_is_due_within_a_second(steps: list[tuple[str, int, float]]) -> None:
    now = 1000.0
    deadlines: Deadlines[Item] = Deadlines(now)
    items = [Item() for _ in range(5)]
    expected: dict[Item, float] = {}
    for step, number, value in steps:
        if step == "set":
            at = now - 10 + value
            deadlines.set(items[number], at)
            expected[items[number]] = max(at, math.floor(now))
        elif step == "discard":
            deadlines.discard(items[number])
            expected.pop(items[number], None)
        else:
            now += value
            taken = due(deadlines, now)
            assert len(taken) == len(set(taken))
            for item in taken:
                assert expected.pop(item) <= now
            assert all(now < at + 1 for at in expected.values())

"""The ring: everyone once a round, and the round spread evenly."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_sse.ring import SLOTS, Ring


class Item:
    """Something in a slot."""

    slot = -1


def filled(count: int, interval: float = 64.0, now: float = 1000.0) -> tuple[Ring[Item], list[Item]]:
    ring: Ring[Item] = Ring(interval, now)
    items = [Item() for _ in range(count)]
    for item in items:
        ring.add(item)
    return ring, items


@pytest.mark.parametrize("count", [1, SLOTS - 1, SLOTS, SLOTS + 1, 1000])
def test_slots_are_filled_evenly(count: int) -> None:
    _, items = filled(count)
    fill = Counter(item.slot for item in items)
    assert max(fill.values()) - min(fill.values()) <= 1
    assert len(fill) == min(count, SLOTS)


@pytest.mark.parametrize("step", [0.1, 0.25, 1.0, 1.5, 7.0])
def test_each_item_comes_once_a_round(step: float) -> None:
    ring, items = filled(150)
    passes: Counter[Item] = Counter()
    now = 1000.0
    while now < 1000.0 + 3 * 64:
        now = min(now + step, 1000.0 + 3 * 64)
        passes.update(ring.pass_until(now))
    assert passes == dict.fromkeys(items, 3)


def test_a_round_is_spread_over_the_interval() -> None:
    ring, _ = filled(3 * SLOTS)
    assert [len(list(ring.pass_until(1000.0 + second))) for second in range(1, 65)] == [3] * 64


def test_looking_again_at_once_passes_nobody() -> None:
    ring, _ = filled(200)
    assert len(list(ring.pass_until(1032.0))) > 0
    assert list(ring.pass_until(1032.0)) == []


@pytest.mark.parametrize("pause", [64.0, 65.0, 1000.0, 1e6])
def test_after_a_long_pause_each_comes_once(pause: float) -> None:
    ring, items = filled(150)
    assert Counter(ring.pass_until(1000.0 + pause)) == dict.fromkeys(items, 1)


def test_who_is_gone_is_not_passed() -> None:
    ring, (goes, stays) = filled(2)
    ring.discard(goes)
    ring.discard(goes)
    assert list(ring.pass_until(1064.0)) == [stays]


def test_one_may_go_while_the_slot_is_passed() -> None:
    ring, items = filled(3 * SLOTS)
    passed = []
    for item in ring.pass_until(1064.0):
        passed.append(item)
        ring.discard(item)
    assert len(passed) == len(items)
    assert list(ring.pass_until(1200.0)) == []


@given(st.lists(st.floats(0.001, 30.0), max_size=60), st.floats(0.05, 300.0), st.floats(0.0, 1e9))
def test_no_item_waits_longer_than_the_interval(steps: list[float], interval: float, start: float) -> None:
    ring, items = filled(SLOTS, interval, start)
    now = start
    seen = dict.fromkeys(items, start)
    for step in steps:
        now += step
        for item in ring.pass_until(now):
            seen[item] = now
        assert all(now - last <= interval * 1.02 + step + 1e-6 for last in seen.values())

"""Entries that end by themselves."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from support import FakeClock
from tornado_sse.expiring import PURGE, ExpiringDict


def test_an_entry_ends_after_its_time() -> None:
    clock = FakeClock()
    entries: ExpiringDict[str, int] = ExpiringDict(10, clock)
    entries.set("a", 1)
    clock.advance(9.9)
    assert entries.get("a") == 1
    clock.advance(0.1)
    assert entries.get("a") is None
    assert entries.get("never") is None


def test_setting_again_starts_the_time_anew() -> None:
    clock = FakeClock()
    entries: ExpiringDict[str, int] = ExpiringDict(10, clock)
    entries.set("a", 1)
    clock.advance(6)
    entries.set("a", 2)
    clock.advance(6)
    assert entries.get("a") == 2
    assert len(entries) == 1


def test_what_is_over_is_forgotten() -> None:
    clock = FakeClock()
    entries: ExpiringDict[str, int] = ExpiringDict(10, clock)
    entries.set("a", 1)
    clock.advance(5)
    entries.set("b", 2)
    clock.advance(5)
    assert len(entries) == 2
    entries.purge()
    assert len(entries) == 1
    clock.advance(5)
    entries.purge()
    assert len(entries) == 0


def test_very_many_are_forgotten_in_steps() -> None:
    clock = FakeClock()
    entries: ExpiringDict[int, int] = ExpiringDict(10, clock)
    for key in range(2 * PURGE):
        entries.set(key, key)
    clock.advance(10)
    entries.purge()
    assert len(entries) == PURGE
    entries.purge()
    assert len(entries) == 0


def test_setting_forgets_what_is_over() -> None:
    clock = FakeClock()
    entries: ExpiringDict[int, int] = ExpiringDict(10, clock)
    for key in range(1000):
        clock.advance(1)
        entries.set(key, key)
    assert len(entries) == 10


def test_an_entry_may_be_discarded_early_and_twice() -> None:
    entries: ExpiringDict[str, int] = ExpiringDict(10, FakeClock())
    entries.set("a", 1)
    entries.discard("a")
    entries.discard("a")
    assert entries.get("a") is None


def test_a_time_of_zero_keeps_nothing() -> None:
    entries: ExpiringDict[str, int] = ExpiringDict(0, FakeClock())
    entries.set("a", 1)
    assert entries.get("a") is None
    assert len(entries) == 0


def test_past_the_limit_the_oldest_goes_first() -> None:
    entries: ExpiringDict[str, int] = ExpiringDict(10, FakeClock(), limit=2)
    for key in ("a", "b", "a", "c"):
        entries.set(key, 1)
    assert [entries.get(key) for key in ("a", "b", "c")] == [1, None, 1]


STEPS = st.lists(st.tuples(st.sampled_from(["set", "discard", "wait", "purge"]), st.integers(0, 5)), max_size=60)


@given(STEPS, st.integers(1, 4))
def test_it_does_what_a_plain_model_does(steps: list[tuple[str, int]], limit: int) -> None:
    clock = FakeClock()
    entries: ExpiringDict[int, int] = ExpiringDict(10, clock, limit)
    model: OrderedDict[int, tuple[float, int]] = OrderedDict()
    for value, (step, number) in enumerate(steps):
        if step == "set":
            entries.set(number, value)
            model.pop(number, None)
            model[number] = (clock.now + 10, value)
            live = [key for key, (end, _) in model.items() if end > clock.now]
            model = OrderedDict((key, model[key]) for key in live[-limit:])
        elif step == "discard":
            entries.discard(number)
            model.pop(number, None)
        elif step == "wait":
            clock.advance(number)
        else:
            entries.purge()
        for key in range(6):
            end, expected = model.get(key, (0, 0))
            assert entries.get(key) == (expected if end > clock.now else None)
        assert len(entries) <= limit

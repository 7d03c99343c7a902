"""The judge of chaos runs, on histories made by hand and drawn."""

from collections.abc import Callable, Iterable
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos_checker import Checker, Fault, Verdict
from chaos_history import Account, Ended, Event, Gap, Opened, Received, Sent
from tornado_sse import topic
from tornado_sse.position import Position
from tornado_sse.topic import ALL, Topic

USER, SESSION, CHANNEL, ELSEWHERE = (
    topic.user("u"),
    topic.session("u", "s"),
    topic.channel("c"),
    topic.user("nobody"),
)
TOPICS = frozenset({ALL, USER, SESSION, CHANNEL})
LAST = 100
RECONNECT: tuple[Event, ...] = (Ended(1.0, "cut"), Opened(1.5, "e-1", "node 1"))


def at(sequence: int, epoch: str = "e") -> Position:
    return Position(epoch, sequence)


def sent(sequence: int | None, *targets: Topic, data: str = "") -> Sent:
    return Sent(targets or (USER,), data or f"m{sequence}", None if sequence is None else at(sequence))


def received(*sequences: int) -> list[Event]:
    return [Received(at(sequence), f"m{sequence}") for sequence in sequences]


def gap(after: int | None, to: int) -> Gap:
    return Gap(None if after is None else at(after), at(to), "evicted")


def account(events: Iterable[Event], begin: Position | None = None, *, finished: bool = True) -> Account:
    return Account("client", TOPICS, begin or at(0), finished, list(events))


def judge(published: Iterable[Sent], one: Account) -> Verdict:
    return Checker(published, at(LAST)).check([one])


def faults(published: Iterable[Sent], one: Account) -> list[Fault]:
    return [complaint.fault for complaint in judge(published, one).complaints]


THREE = [sent(1), sent(2, ALL), sent(3, SESSION)]


def test_all_of_it_in_order_is_right_whatever_the_connections() -> None:
    verdict = judge(THREE, account([*received(1), *RECONNECT, *received(2, 3)]))
    assert (verdict.passed, verdict.received, verdict.owed) == (True, 3, 3)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (received(1, 3), [Fault.LOST]),
        (received(1, 2), [Fault.LOST]),
        (received(), [Fault.LOST] * 3),
        (received(1, 2, 2, 3), [Fault.DUPLICATED]),
        ([*received(1, 2), *RECONNECT, *received(2, 3)], [Fault.DUPLICATED]),
        (received(1, 3, 2), [Fault.REORDERED]),
        ([*received(1, 2), Received(at(4), "m3")], [Fault.MISPLACED, Fault.LOST]),
        ([*received(1, 2, 3), Received(at(9), "never sent")], [Fault.MISDIRECTED]),
        ([*received(1, 2), Received(at(3, "f"), "m3")], [Fault.EPOCH]),
        ([*received(1), gap(1, 2), *received(3)], []),
        ([gap(None, 2), *received(3)], []),
        ([*received(1), gap(1, 1), *received(3)], [Fault.NEEDLESS, Fault.LOST]),
        ([*received(1), gap(0, 2), *received(3)], [Fault.WIDE]),
        ([*received(1, 2), gap(2, 2), *received(3)], [Fault.NEEDLESS]),
    ],
)
def test_what_is_wrong_is_named(events: list[Event], expected: list[Fault]) -> None:
    assert faults(THREE, account(events)) == expected


def test_a_client_is_owed_what_is_above_its_beginning_and_not_beyond_the_last() -> None:
    published = [*THREE, sent(LAST + 1)]
    assert faults(published, account(received(2, 3), at(1))) == []
    assert judge(published, account(received(2, 3), at(1))).owed == 2


def test_what_is_for_others_is_not_owed_and_must_not_come() -> None:
    published = [*THREE, sent(4, ELSEWHERE)]
    assert faults(published, account(received(1, 2, 3))) == []
    assert faults(published, account(received(1, 2, 3, 4))) == [Fault.MISDIRECTED]


def test_several_targets_of_one_client_are_owed_once() -> None:
    published = [sent(1, USER, CHANNEL, ALL)]
    assert judge(published, account(received(1))).owed == 1
    assert faults(published, account(received(1, 1))) == [Fault.DUPLICATED]


def test_what_nobody_acknowledged_may_come_once_or_not() -> None:
    published = [*THREE, sent(None, data="m7")]
    assert faults(published, account(received(1, 2, 3))) == []
    assert faults(published, account(received(1, 2, 3, 7))) == []
    assert faults(published, account(received(1, 2, 3, 7, 7))) == [Fault.DUPLICATED]
    assert faults(published, account([*received(1, 2, 3), gap(3, 7)])) == []
    assert faults(published, account([*received(1, 2, 3, 7), gap(7, 8)])) == [Fault.NEEDLESS]


def test_a_client_without_the_last_message_is_stuck() -> None:
    assert faults(THREE, account(received(1, 2, 3), finished=False)) == [Fault.STUCK]
    assert faults([], Account("client", TOPICS)) == [Fault.STUCK]


def test_another_epoch_is_one_fault_for_who_publishes_and_one_for_who_begins_in_it() -> None:
    other = Sent((USER,), "m5", at(5, "f"))
    assert faults([other], account([])) == [Fault.EPOCH]
    assert faults(THREE, account([], at(5, "f"))) == [Fault.EPOCH]


def test_a_position_given_twice_is_noticed() -> None:
    published = [sent(1), sent(1, data="other")]
    assert Fault.DUPLICATED in faults(published, account(received(1)))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Sent], Account]:
    """Draw a run in which all went well, with holes that are told, and at least one message that came."""
    targets = st.lists(st.sampled_from([*sorted(TOPICS, key=str), ELSEWHERE]), min_size=1, max_size=3, unique=True)
    published = [sent(number, *draw(targets)) for number in range(1, draw(st.integers(2, 40)))]
    ours = [one.position.sequence for one in published if one.position and not TOPICS.isdisjoint(one.targets)]
    begin = draw(st.integers(0, 5))
    events: list[Event] = []
    for sequence in (number for number in ours if number > begin):
        if draw(st.booleans()) and draw(st.booleans()):
            events.append(gap(sequence - 1, sequence))
        else:
            events += received(sequence)
        events += RECONNECT * draw(st.integers(0, 1))
    return published, account(events, at(begin))


@given(histories())
def test_what_went_well_passes(history: tuple[list[Sent], Account]) -> None:
    assert faults(*history) == []


def drop(events: list[Event], index: int) -> Fault:
    del events[index]
    return Fault.LOST


def repeat(events: list[Event], index: int) -> Fault:
    events.append(events[index])
    return Fault.DUPLICATED


def delay(events: list[Event], index: int) -> Fault:
    """Move it behind all others, or, where there are none, repeat it."""
    later = [event for event in events[index + 1 :] if isinstance(event, Received)]
    if not later:
        return repeat(events, index)
    events.append(events.pop(index))
    return Fault.REORDERED


@pytest.mark.parametrize("spoil", [drop, repeat, delay])
@given(st.data())
def test_one_spoiled_message_is_noticed(spoil: Callable[[list[Event], int], Fault], data: st.DataObject) -> None:
    published, one = data.draw(histories())
    places = [index for index, event in enumerate(one.events) if isinstance(event, Received)]
    if places:
        spoiled = copy(one)
        spoiled.events = list(one.events)
        assert spoil(spoiled.events, data.draw(st.sampled_from(places))) in faults(published, spoiled)

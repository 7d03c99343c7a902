"""What a backlog lets go: past its bounds in bytes and age, and for a newer message of the same key."""

import pytest

from outbox_support import SIZE, drain, new_outbox, push, take, told, waiting
from support import NOTICE, make_message
from tornado_sse.outbox import Dropped, Overflow, SlowPolicy
from tornado_sse.topic import user

# The bound in bytes


@pytest.mark.parametrize("policy", [SlowPolicy.DISCONNECT, SlowPolicy.CONFLATE])
def test_past_the_bound_the_stream_ends(policy: SlowPolicy) -> None:
    outbox = new_outbox(policy)
    push(outbox, 1, 2, 3)
    with pytest.raises(Overflow):
        push(outbox, 4)


def test_notices_are_outside_the_bounds() -> None:
    outbox = new_outbox(max_bytes=SIZE)
    for _ in range(100):
        outbox.notice(NOTICE.body)
    push(outbox, 1)
    assert outbox.bytes == SIZE


def test_dropping_tells_one_gap_that_grows() -> None:
    outbox = new_outbox(SlowPolicy.DROP_OLDEST)
    assert push(outbox, 2, 4, 5) == Dropped()
    assert push(outbox, 7) == Dropped(1, 1)
    assert push(outbox, 8, 9) == Dropped(2, 0)
    assert outbox.bytes == 3 * SIZE
    assert waiting(outbox) == ["2..5", 7, 8, 9]


def test_what_is_half_written_is_not_dropped() -> None:
    outbox = new_outbox(SlowPolicy.DROP_OLDEST)
    push(outbox, 1, 2, 3)
    begun = take(outbox, 5)
    assert push(outbox, 4, 5) == Dropped(2, 1)
    assert told(begun + drain(outbox)) == [1, "2..3", 4, 5]


def test_a_gap_that_is_half_written_is_not_changed() -> None:
    outbox = new_outbox(SlowPolicy.DROP_OLDEST)
    push(outbox, 1, 2, 3, 4)
    begun = take(outbox, 5)
    assert push(outbox, 5, 6) == Dropped(2, 1)
    assert told(begun + drain(outbox)) == ["1..1", "2..3", 4, 5, 6]


def test_notices_and_the_past_stay_where_they_are() -> None:
    outbox = new_outbox(SlowPolicy.DROP_OLDEST, held=True)
    outbox.release([make_message(1)], 1)
    push(outbox, 2)
    outbox.notice(NOTICE.body)
    push(outbox, 3, 4)
    assert push(outbox, 5, 6) == Dropped(2, 2)
    assert waiting(outbox) == [1, "2..2", "n", "3..3", 4, 5, 6]


def test_the_newest_message_is_kept_whatever_its_size() -> None:
    outbox = new_outbox(SlowPolicy.DROP_OLDEST)
    push(outbox, 1, 2)
    assert outbox.push(make_message(3, data="x" * 100), 0) == Dropped(2, 1)
    assert waiting(outbox) == ["1..2", 3]


# Conflation


def test_of_the_messages_with_one_key_the_newest_stays() -> None:
    outbox = new_outbox(SlowPolicy.CONFLATE)
    push(outbox, 1, key="a")
    push(outbox, 2, key="b")
    assert push(outbox, 3, 4, 5, key="a") == Dropped(messages=3)
    assert outbox.bytes == 2 * SIZE
    assert waiting(outbox) == [2, 5]


def test_messages_without_a_key_are_never_conflated() -> None:
    outbox = new_outbox(SlowPolicy.CONFLATE)
    assert push(outbox, 1, 2) == Dropped()
    assert push(outbox, 3, key="a") == Dropped()
    assert waiting(outbox) == [1, 2, 3]


def test_one_key_in_two_topics_is_two_keys() -> None:
    outbox = new_outbox(SlowPolicy.CONFLATE)
    push(outbox, 1, key="a")
    assert outbox.push(make_message(2, user("u"), key="a"), 0) == Dropped()
    assert waiting(outbox) == [1, 2]


def test_conflation_spares_what_is_half_written_and_the_past() -> None:
    outbox = new_outbox(SlowPolicy.CONFLATE, held=True)
    outbox.release([make_message(1, key="a")], 1)
    assert push(outbox, 2, key="a") == Dropped()
    begun = take(outbox, SIZE + 5)
    outbox.notice(NOTICE.body)
    assert push(outbox, 3, key="a") == Dropped()
    assert push(outbox, 4, key="a") == Dropped(1)
    assert told(begun + drain(outbox)) == [1, 2, "n", 4]


def test_a_conflated_message_leaves_nothing_behind() -> None:
    outbox = new_outbox(SlowPolicy.CONFLATE, max_bytes=5 * SIZE)
    push(outbox, 1)
    begun = take(outbox, 5)
    for number in range(2, 1000):
        push(outbox, number, key="ab"[number % 2])
        assert len(outbox) <= 3
        assert len(outbox._entries) <= 6, "the dead pile up"
    assert told(begun + drain(outbox)) == [1, 998, 999]
    assert (len(outbox._newest), outbox._dead) == (0, 0)


def test_a_message_that_left_is_not_conflated() -> None:
    outbox = new_outbox(SlowPolicy.CONFLATE)
    push(outbox, 1, key="a")
    assert waiting(outbox) == [1]
    assert push(outbox, 2, key="a") == Dropped()
    assert waiting(outbox) == [2]


def test_a_message_that_the_past_holds_is_not_conflated() -> None:
    outbox = new_outbox(SlowPolicy.CONFLATE, held=True)
    push(outbox, 1)
    assert push(outbox, 2, 3, key="a") == Dropped(1)
    outbox.release([make_message(number, key="a") for number in (2, 3)], 3)
    assert outbox.bytes == 0
    assert push(outbox, 4, key="a") == Dropped()
    assert waiting(outbox) == [2, 3, 4]


def test_the_age_is_that_of_the_oldest_message_left() -> None:
    outbox = new_outbox(SlowPolicy.CONFLATE)
    push(outbox, 1, now=0.0, key="a")
    push(outbox, 2, now=4.0, key="b")
    push(outbox, 3, now=8.0, key="a")
    assert outbox.expire(13.9) == Dropped()
    with pytest.raises(Overflow):
        outbox.expire(14.0)


def test_what_was_conflated_before_the_stream_ends_is_told() -> None:
    outbox = new_outbox(SlowPolicy.CONFLATE)
    push(outbox, 1, key="a")
    with pytest.raises(Overflow) as overflow:
        outbox.push(make_message(2, data="x" * 100, key="a"), 0)
    assert overflow.value.dropped == Dropped(1)
    assert outbox.cut(keep_begun=True) == 1


def test_other_policies_do_not_conflate() -> None:
    for policy in (SlowPolicy.DISCONNECT, SlowPolicy.DROP_OLDEST):
        outbox = new_outbox(policy)
        push(outbox, 1, 2, key="a")
        assert waiting(outbox) == [1, 2]


# The bound in age


@pytest.mark.parametrize("policy", [SlowPolicy.DISCONNECT, SlowPolicy.CONFLATE])
def test_a_message_that_waited_too_long_ends_the_stream(policy: SlowPolicy) -> None:
    outbox = new_outbox(policy)
    push(outbox, 1, now=5.0)
    assert outbox.expire(14.9) == Dropped()
    with pytest.raises(Overflow):
        outbox.expire(15.0)


def test_an_empty_backlog_has_no_age() -> None:
    assert new_outbox().expire(1e9) == Dropped()


def test_a_message_that_waited_too_long_is_dropped_and_told() -> None:
    outbox = new_outbox(SlowPolicy.DROP_OLDEST)
    push(outbox, 1, now=0.0)
    push(outbox, 2, now=4.0)
    push(outbox, 3, now=8.0)
    assert outbox.expire(9.9) == Dropped()
    assert outbox.expire(10.0) == Dropped(1, 1)
    assert outbox.expire(14.0) == Dropped(1, 0)
    assert outbox.bytes == SIZE
    assert outbox.expire(1000.0) == Dropped()
    assert waiting(outbox) == ["1..2", 3]


def test_dropping_by_age_spares_what_is_half_written() -> None:
    outbox = new_outbox(SlowPolicy.DROP_OLDEST)
    push(outbox, 1, 2, 3)
    begun = take(outbox, 5)
    assert outbox.expire(10.0) == Dropped(1, 1)
    assert told(begun + drain(outbox)) == [1, "2..2", 3]


def test_messages_behind_the_past_are_as_old_as_its_end() -> None:
    outbox = new_outbox(held=True)
    outbox.release([make_message(1), make_message(2)], 2)
    push(outbox, 3, now=1.0)
    take(outbox, SIZE, now=9.0)
    assert outbox.expire(15.0) == Dropped()
    take(outbox, SIZE, now=16.0)
    assert outbox.expire(25.9) == Dropped()
    with pytest.raises(Overflow):
        outbox.expire(26.0)


def test_dropped_messages_behind_the_past_are_as_old_as_its_end() -> None:
    outbox = new_outbox(SlowPolicy.DROP_OLDEST, held=True)
    outbox.release([make_message(1)], 1)
    push(outbox, 2, 3, 4, 5, 6, now=1.0)
    take(outbox, SIZE, now=8.0)
    assert outbox.expire(17.9) == Dropped()
    assert outbox.expire(18.0) == Dropped(2, 0)
    assert waiting(outbox) == ["2..5", 6]


@pytest.mark.parametrize("policy", list(SlowPolicy))
def test_a_past_that_does_not_move_ends_the_stream(policy: SlowPolicy) -> None:
    outbox = new_outbox(policy, held=True)
    outbox.release([make_message(1), make_message(2)], 2)
    outbox.wrote(5, 3.0)
    outbox.wrote(0, 12.0)
    assert outbox.expire(12.9) == Dropped()
    with pytest.raises(Overflow):
        outbox.expire(13.0)

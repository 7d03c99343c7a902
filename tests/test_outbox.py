"""A stream's backlog: whatever the socket takes, what comes out is whole events, in order, and every hole is told."""

import pytest

from support import NOTICE, make_message, read_events, sequence_of, tell_gap
from tornado_sse.event import LAST_CHUNK, Encoding, Frame
from tornado_sse.outbox import WRITE_SIZE, Bounds, Dropped, Outbox, Overflow, SlowPolicy
from tornado_sse.topic import user

SIZE = len(make_message(1).frame.body)


def new_outbox(
    policy: SlowPolicy = SlowPolicy.DISCONNECT,
    *,
    max_bytes: int = 3 * SIZE,
    max_age: float = 10,
    encoding: Encoding = Encoding.BARE,
    held: bool = False,
) -> Outbox:
    outbox = Outbox(Bounds(max_bytes, max_age, policy), encoding, 0.0, tell_gap)
    if not held:
        outbox.release((), 0)
    return outbox


def push(outbox: Outbox, *numbers: int, now: float = 0.0, key: str | None = None) -> Dropped:
    """Push messages that are encoded in `SIZE` bytes each."""
    messages = gaps = 0
    for number in numbers:
        dropped = outbox.push(make_message(number, key=key), now)
        messages, gaps = messages + dropped.messages, gaps + dropped.gaps
    return Dropped(messages, gaps)


def take(outbox: Outbox, count: int, now: float = 0.0) -> bytes:
    data = outbox.pending()[:count]
    outbox.wrote(len(data), now)
    return data


def drain(outbox: Outbox, now: float = 0.0) -> bytes:
    return b"".join(iter(lambda: take(outbox, 10**9, now), b""))


def told(body: bytes) -> list[int | str]:
    """What a client sees: sequences, and the data of notices."""
    return [event.data if event.name.startswith("stream-") else sequence_of(event) for event in read_events(body)]


def waiting(outbox: Outbox) -> list[int | str]:
    return told(drain(outbox))


# What leaves


def test_messages_leave_in_order() -> None:
    outbox = new_outbox()
    push(outbox, 1, 2)
    outbox.notice(NOTICE.body)
    push(outbox, 3)
    outbox.notice(b":end\n\n")
    assert (len(outbox), outbox.bytes) == (5, 3 * SIZE)
    body = drain(outbox)
    assert told(body) == [1, 2, "n", 3]
    assert body.endswith(b":end\n\n")
    assert (len(outbox), outbox.bytes, outbox.pending()) == (0, 0, b"")


@pytest.mark.parametrize("encoding", list(Encoding))
def test_every_split_of_the_bytes_gives_the_same_stream(encoding: Encoding) -> None:
    whole = b"".join([make_message(1).frame.encoded(encoding), NOTICE.encoded(encoding)])
    rest = make_message(2).frame.encoded(encoding)
    for cut in range(len(whole) + 1):
        for second in range(len(whole) + len(rest) - cut + 1):
            outbox = new_outbox(encoding=encoding, max_bytes=1000)
            push(outbox, 1)
            outbox.notice(NOTICE.encoded(encoding))
            out = take(outbox, cut)
            push(outbox, 2)
            out += take(outbox, second)
            assert out + drain(outbox) == whole + rest


def test_writes_are_counted_when_a_message_is_out_whole() -> None:
    outbox = new_outbox()
    push(outbox, 1, 2)
    outbox.notice(NOTICE.body)
    push(outbox, 3)
    assert outbox.wrote(SIZE - 1, 0) == 0
    assert outbox.wrote(1, 0) == 1
    assert outbox.wrote(0, 0) == 0
    assert outbox.wrote(SIZE + len(NOTICE.body) + 5, 0) == 1
    assert outbox.wrote(SIZE - 5, 0) == 1


@pytest.mark.parametrize("sent", range(SIZE))
def test_a_message_may_begin_to_leave_before_it_waits(sent: int) -> None:
    outbox = new_outbox()
    outbox.push(make_message(1), 0, sent)
    push(outbox, 2)
    assert outbox.bytes == 2 * SIZE
    assert make_message(1).frame.body[:sent] + drain(outbox) == b"".join(make_message(n).frame.body for n in (1, 2))


def test_writes_are_of_a_good_size() -> None:
    outbox = new_outbox(max_bytes=10**9)
    body = b""
    for number in range(1, 400):
        message = make_message(number, data="x" * 1000)
        outbox.push(message, 0)
        body += message.frame.body
    writes = list(iter(lambda: take(outbox, 10**9), b""))
    assert all(WRITE_SIZE <= len(write) < WRITE_SIZE + 1100 for write in writes[:-1])
    assert b"".join(writes) == body


def test_a_message_larger_than_a_write_leaves_as_it_is() -> None:
    outbox = new_outbox(max_bytes=10**9)
    message = make_message(1, data="x" * 2 * WRITE_SIZE)
    outbox.push(message, 0)
    push(outbox, 2)
    assert outbox.pending() == message.frame.body
    assert waiting(outbox) == [1, 2]


# Held, and released with the past


def test_nothing_leaves_before_the_past_is_there() -> None:
    outbox = new_outbox(held=True)
    push(outbox, 4)
    outbox.notice(NOTICE.body)
    assert (outbox.pending(), outbox.held) == (b"", True)
    assert outbox.expire(1000) == Dropped()
    outbox.release([b":head\n\n", make_message(1), make_message(3)], 3)
    assert outbox.held is False
    body = drain(outbox)
    assert body.startswith(b":head\n\n")
    assert told(body) == [1, 3, 4, "n"]


def test_live_messages_that_the_past_holds_are_ignored() -> None:
    outbox = new_outbox(held=True)
    push(outbox, 1, 2, 3)
    outbox.release([make_message(1), make_message(2)], 2)
    assert outbox.bytes == SIZE
    push(outbox, 2)
    assert waiting(outbox) == [1, 2, 3]


def test_messages_up_to_the_floor_that_come_later_are_ignored() -> None:
    outbox = new_outbox(held=True)
    outbox.release([make_message(1), make_message(5)], 5)
    assert push(outbox, 3, 4, 5) == Dropped()
    push(outbox, 6)
    assert waiting(outbox) == [1, 5, 6]


def test_a_long_past_counts_for_nothing() -> None:
    outbox = new_outbox(max_bytes=SIZE, held=True)
    outbox.release([make_message(number) for number in range(1, 9)], 8)
    assert outbox.bytes == 0
    push(outbox, 9)
    assert outbox.bytes == SIZE
    assert waiting(outbox) == list(range(1, 10))


def test_a_form_of_its_own_is_made_when_its_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    past = [make_message(number, data="x" * 1000) for number in range(1, 1001)]
    expected = b"".join(message.frame.body for message in past)
    made: list[Frame] = []
    make = Frame.encoded

    def encoded(frame: Frame, encoding: Encoding) -> bytes:
        made.append(frame)
        return make(frame, encoding)

    monkeypatch.setattr(Frame, "encoded", encoded)
    outbox = new_outbox(held=True)
    outbox.release(past, 1000)
    assert made == []
    begun = take(outbox, 10**9)
    assert len(made) < WRITE_SIZE / 1000 + 2
    assert begun + drain(outbox) == expected


@pytest.mark.parametrize(
    ("floor", "expected"),
    [
        (0, ["1..3", 4]),
        (1, [1, "2..3", 4]),
        (2, [1, 2, "3..3", 4]),
        (3, [1, 2, 3, 4]),
        (4, [1, 2, 3, 4]),
    ],
)
def test_what_was_dropped_while_held_is_told_only_where_the_past_does_not_hold_it(
    floor: int, expected: list[int | str]
) -> None:
    outbox = new_outbox(SlowPolicy.DROP_OLDEST, max_bytes=SIZE, held=True)
    push(outbox, 1, 2, 3, 4)
    outbox.release([make_message(number) for number in range(1, floor + 1)], floor)
    assert waiting(outbox) == expected


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


# Cut


def test_a_cut_leaves_the_rest_of_what_is_half_written() -> None:
    outbox = new_outbox(max_bytes=100 * SIZE)
    push(outbox, 1, 2, 3)
    outbox.notice(NOTICE.body)
    begun = take(outbox, SIZE + 5)
    assert outbox.cut(keep_begun=True) == 1
    assert outbox.bytes == 0
    outbox.notice(LAST_CHUNK)
    rest = drain(outbox)
    assert told((begun + rest).removesuffix(LAST_CHUNK)) == [1, 2]
    assert outbox.bytes == 0


def test_a_cut_between_two_messages_leaves_nothing() -> None:
    outbox = new_outbox(held=True)
    outbox.release([make_message(1), make_message(2)], 2)
    push(outbox, 3)
    take(outbox, SIZE)
    assert outbox.cut(keep_begun=True) == 2
    assert (len(outbox), outbox.bytes, outbox.pending()) == (0, 0, b"")


def test_a_cut_may_leave_nothing_at_all() -> None:
    outbox = new_outbox()
    push(outbox, 1, 2)
    take(outbox, 5)
    assert outbox.cut(keep_begun=False) == 2
    assert (len(outbox), outbox.bytes, outbox.pending()) == (0, 0, b"")
    push(outbox, 3)
    assert waiting(outbox) == [3]

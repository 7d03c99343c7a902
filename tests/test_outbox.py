"""A stream's backlog: whatever the socket takes, what comes out is whole events, in order, and every hole is told."""

import pytest

from outbox_support import SIZE, drain, new_outbox, push, take, told, waiting
from support import NOTICE, make_message
from tornado_sse.event import LAST_CHUNK, Encoding, Frame
from tornado_sse.outbox import WRITE_SIZE, Dropped, SlowPolicy

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
    gaps = outbox.release([make_message(number) for number in range(1, floor + 1)], floor)
    assert gaps == sum(isinstance(one, str) for one in expected)
    assert waiting(outbox) == expected


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

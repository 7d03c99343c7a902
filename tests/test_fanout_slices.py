"""Fan-out in slices: others get their turns, and streams and messages may come and go in between."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout_support import CHANNEL, OTHER, USER, Bench, costly
from support import FakeClock, FakeStream, make_message, tell_gap
from tornado_sse import topic
from tornado_sse.event import Encoding
from tornado_sse.fanout import STRIDE
from tornado_sse.hub import topics_of
from tornado_sse.message import Batch, Message
from tornado_sse.outbox import Bounds, Outbox, SlowPolicy
from tornado_sse.steps import PAUSE, SLICE, STEP
from tornado_sse.topic import ALL, Topic


def listening(stream: FakeStream) -> list[Topic]:
    return list(topics_of(stream.user, stream.session, stream.channels))


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Slices


def test_a_long_fan_out_leaves_turns_to_others(bench: Bench) -> None:
    streams = bench.open(*["u"] * 10 * STRIDE)
    for stream in streams:
        stream.takes = costly(bench.clock)
    others: list[int] = []
    bench.deliver(USER, USER)
    while bench.loop:
        bench.loop.append(lambda: others.append(sum(len(stream.writes) for stream in streams)))
        bench.turn()
        bench.turn()
    # Each turn of the loop wrote to no more streams than two looks at the clock allow.
    assert others[0] == STRIDE
    assert all(after - before <= STRIDE for before, after in pairwise(others))
    assert all(stream.received == [1, 2] for stream in streams)


def test_a_request_is_read_and_answered_between_two_slices(bench: Bench) -> None:
    streams = bench.open(*["u"] * 10 * STRIDE)
    for stream in streams:
        stream.takes = costly(bench.clock)
    bench.deliver(USER)
    bench.turn()
    written: list[int] = []

    def read() -> None:
        bench.loop.append(lambda: written.append(sum(len(stream.writes) for stream in streams)))

    bench.loop.append(read)
    bench.run()
    assert written == [STRIDE]


def test_a_slice_is_as_long_as_the_clock_says(bench: Bench) -> None:
    streams = bench.open(*["u"] * 10 * STRIDE)
    for stream in streams:
        stream.takes = costly(bench.clock, SLICE / (3 * STRIDE - 1))
    bench.deliver(USER)
    bench.turn()
    assert sum(len(stream.writes) for stream in streams) == 3 * STRIDE
    assert bench.run() == 3 * (PAUSE + 1)


@pytest.mark.parametrize("topics", [[USER], [USER, ALL]])
@pytest.mark.parametrize("refused", ["all", "in part", "backlogged"])
def test_backlogs_do_not_outlast_the_slice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, refused: str, topics: list[Topic]
) -> None:
    streams = bench.open(*["u"] * 3 * STRIDE)
    cost = SLICE / 3 + 1e-6

    def takes(data: bytes) -> int:
        bench.clock.advance(cost)
        if refused == "all":
            raise BlockingIOError
        return len(data) - 1

    keep = FakeStream.backlog

    def backlog(stream: FakeStream, batch: Batch, sent: int) -> None:
        bench.clock.advance(cost if stream.outbox is not None else 0)
        keep(stream, batch, sent)

    monkeypatch.setattr(FakeStream, "backlog", backlog)
    for stream in streams:
        stream.takes = takes
        if refused == "backlogged":
            stream.outbox = Outbox(Bounds(1000, 10, SlowPolicy.DISCONNECT), Encoding.BARE, 0, tell_gap)
    messages = bench.deliver(*topics)
    turns = 0
    while bench.loop:
        assert bench.fanout.completed == 0
        begun = bench.clock.now
        bench.turn()
        turns += 1
        assert bench.clock.now - begun < SLICE + 2 * cost
    slices = len(streams) // 3 + 1  # the last finds that nobody is left
    assert turns == slices + (slices - 1) * PAUSE
    everything = [message.sequence for message in messages]
    assert all([kept for kept, _ in stream.backlogs + stream.failures] == [everything] for stream in streams)
    assert bench.fanout.completed == len(messages)
    assert bench.stats.messages_delivered == 0


def test_messages_that_come_in_the_middle_wait_for_their_turn(bench: Bench) -> None:
    streams = bench.open(*["u"] * 3 * STRIDE)
    for stream in streams:
        stream.takes = costly(bench.clock)
    while bench.last < 20:
        bench.deliver(USER, ALL)
        bench.turn()
        assert len(bench.loop) == 1
    bench.run()
    assert all(stream.received == list(range(1, 21)) for stream in streams)
    assert bench.fanout.completed == 20


def in_short_turns(bench: Bench, bound: float = 2 * SLICE) -> int:
    """Take all turns, each shorter than the bound; return how many."""
    turns = 0
    while bench.loop:
        begun = bench.clock.now
        bench.turn()
        turns += 1
        assert bench.clock.now - begun < bound
    return turns


@pytest.mark.parametrize("listening", [False, True])
def test_a_great_burst_is_planned_in_steps(
    bench: Bench,
    listening: bool,
) -> None:
    count = 500
    names = [f"u{number}" for number in range(count)]
    streams = bench.open(*names) if listening else []
    bench.clock.tick = SLICE / 20
    bench.deliver(*map(topic.user, names))
    assert in_short_turns(bench, 3 * SLICE) > 10
    assert bench.fanout.completed == count
    assert [stream.received for stream in streams] == [[number + 1] for number in range(len(streams))]


def weighed(clock: FakeClock) -> type[FakeStream]:
    """Streams of which each look costs time."""

    class Weighed(FakeStream):
        def __hash__(self) -> int:
            clock.advance(SLICE / STEP / 4)
            return id(self)

    return Weighed


@pytest.mark.parametrize("both", [True, False])
def test_who_shares_a_write_is_found_out_in_steps(bench: Bench, both: bool) -> None:
    streams = [weighed(bench.clock)(user) for user in "uv" for _ in range(10 * STEP)]
    for stream in streams:
        bench.hub.add(stream)
    bench.deliver(USER, ALL if both else OTHER)
    assert in_short_turns(bench) > 10
    first, second = ([1, 2], [2]) if both else ([1], [2])
    assert [stream.received for stream in streams] == [first] * 10 * STEP + [second] * 10 * STEP
    assert all(len(stream.writes) == 1 for stream in streams)


def test_who_is_told_which_channels_is_found_out_in_steps(bench: Bench) -> None:
    channels = ("c", "d")
    streams = [
        weighed(bench.clock)("u", channels=channels[:count], labelled=True)
        for count in (1, 2)
        for _ in range(10 * STEP)
    ]
    for stream in streams:
        bench.hub.add(stream)
    bench.deliver((CHANNEL, topic.channel("d")))
    leaver = streams.pop()
    bench.turn()
    bench.hub.remove(leaver)
    assert in_short_turns(bench) > 10
    assert {stream.writes[0].count(b"channel: ") for stream in streams[: 10 * STEP]} == {1}
    assert {stream.writes[0].count(b"channel: ") for stream in streams[10 * STEP :]} == {2}
    assert all(len(stream.writes) == 1 for stream in streams)


def test_a_message_to_very_many_is_planned_alone_when_time_is_short(bench: Bench) -> None:
    (stream,) = bench.open("u", channels=("c",))
    bench.clock.tick = SLICE
    bench.deliver(ALL, CHANNEL, USER)
    assert bench.run() == 3 + 2 * PAUSE
    assert stream.received == [1, 2, 3]
    assert len(stream.writes) == 3


# Streams that come and go in the middle


def test_a_stream_that_joins_before_the_plan_gets_the_message(bench: Bench) -> None:
    bench.deliver(ALL)
    (late,) = bench.open("u")
    bench.run()
    assert late.received == [1]


def test_a_stream_that_joins_after_the_plan_does_not(bench: Bench) -> None:
    for stream in bench.open(*["u"] * 3 * STRIDE):
        stream.takes = costly(bench.clock)
    bench.deliver(USER)
    bench.turn()
    (late,) = bench.open("u")
    bench.deliver(USER)
    bench.run()
    assert late.received == [2]


@pytest.mark.parametrize("topics", [(USER,), (USER, ALL)])
def test_a_stream_may_leave_while_others_are_written_to(bench: Bench, topics: tuple[Topic, ...]) -> None:
    first, second, third = bench.open("u", "u", "u")

    def leave(data: bytes) -> int:
        bench.hub.remove(second)
        first.takes = len
        return len(data)

    first.takes = leave
    bench.deliver(*topics)
    bench.run()
    assert third.received == list(range(1, len(topics) + 1))
    bench.deliver(USER)
    bench.run()
    assert bench.last not in second.received


def test_a_stream_whose_own_error_removes_it_is_no_trouble(bench: Bench) -> None:
    streams = bench.open(*["u"] * 5)

    def fail(_: bytes) -> int:
        bench.hub.remove(streams[2])
        raise BrokenPipeError

    streams[2].takes = fail
    bench.deliver(USER, OTHER, USER)
    bench.run()
    assert [len(stream.received) for stream in streams if stream is not streams[2]] == [2, 2, 2, 2]


TOPICS = st.sampled_from([ALL, USER, OTHER, CHANNEL, (USER, CHANNEL), (OTHER, ALL)])


@given(
    st.lists(st.tuples(st.lists(TOPICS, max_size=5), st.integers(0, 3)), max_size=12), st.sampled_from([0, 0.001, 0.01])
)
def test_whatever_the_pace_every_stream_gets_its_messages_once_and_in_order(
    steps: list[tuple[list[Topic | tuple[Topic, ...]], int]], cost: float
) -> None:
    bench = Bench()
    streams = bench.open("u", "v") + bench.open("u", "w", channels=("c",))
    streams += bench.open("u", "w", channels=("c",), labelled=True)
    for stream in streams:
        stream.takes = costly(bench.clock, cost)
    bench.clock.tick = cost / 4
    messages: list[Message] = []
    for topics, turns in steps:
        messages += bench.deliver(*topics)
        for _ in range(min(turns, len(bench.loop))):
            bench.turn()
    bench.run()
    for stream in streams:
        wanted = [message for message in messages if not set(listening(stream)).isdisjoint(message.topics)]
        assert stream.received == [message.sequence for message in wanted]
        assert stream.sent == len(wanted)
    assert bench.fanout.completed == len(messages)


def test_what_is_to_happen_afterwards_waits_for_what_was_delivered_before(bench: Bench) -> None:
    (stream,) = bench.open("u")
    happened: list[int] = []
    bench.fanout.afterwards(lambda: happened.append(stream.sent))
    assert happened == [0], "nothing was to be waited for"
    bench.deliver(USER, USER)
    bench.fanout.afterwards(lambda: happened.append(stream.sent))
    bench.deliver(USER)
    assert happened == [0]
    bench.run()
    assert happened[1] >= 2


def test_what_is_to_happen_afterwards_does_not_wait_for_what_comes_later(bench: Bench) -> None:
    bench.open(*["u"] * (4 * STRIDE))
    bench.clock.tick = SLICE / 2
    bench.deliver(USER)
    bench.turn()
    happened: list[int] = []
    bench.fanout.afterwards(lambda: happened.append(bench.fanout.completed))
    bench.deliver(USER)
    assert happened == []
    bench.run()
    assert happened == [1]


def test_what_is_delivered_by_what_happens_afterwards_asks_for_no_turns_of_its_own(bench: Bench) -> None:
    streams = bench.open(*["u"] * 4 * STRIDE)
    bench.deliver(USER)
    bench.fanout.afterwards(lambda: iter(bench.deliver(USER)))
    for stream in streams:
        stream.takes = costly(bench.clock)
    while bench.loop:
        assert len(bench.loop) == 1
        bench.turn()
    assert all(stream.received == [1, 2] for stream in streams)


def test_what_is_to_happen_between_messages_costs_no_write(bench: Bench) -> None:
    (stream,) = bench.open("u")
    happened: list[int] = []
    for _ in range(20):
        bench.deliver(USER)
        bench.fanout.afterwards(lambda: happened.append(bench.fanout.completed))
    bench.run()
    assert (stream.received, len(stream.writes)) == (list(range(1, 21)), 1)
    assert happened == [20] * 20


def test_what_must_happen_before_the_next_message_does(bench: Bench) -> None:
    (stream,) = bench.open("u")
    happened: list[tuple[str, int]] = []
    bench.deliver(USER)
    bench.fanout.afterwards(lambda: happened.append(("loose", len(stream.received))))
    bench.fanout.afterwards(lambda: happened.append(("strict", len(stream.received))), strict=True)
    bench.deliver(USER)
    bench.run()
    assert happened == [("loose", 1), ("strict", 1)]
    assert (stream.received, len(stream.writes)) == ([1, 2], 2)


def test_a_step_that_fails_keeps_no_other_from_being_made(bench: Bench) -> None:
    made: list[int] = []

    def step(number: int) -> None:
        made.append(1 // number)

    bench.deliver(OTHER)
    bench.fanout.afterwards(lambda: map(step, [1, 0, 1]))
    with pytest.raises(ZeroDivisionError):
        bench.run()
    bench.run()
    assert (made, bench.fanout.idle) == ([1, 1], True)


@pytest.mark.parametrize("fault", ["callback", "trace"])
def test_what_fails_beside_the_delivery_keeps_no_stream_waiting(bench: Bench, fault: str) -> None:
    (stream,) = bench.open("u")
    happened: list[int] = []

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    bench.clock.tick = SLICE
    traced = make_message(1, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    bench.fanout.deliver([traced, make_message(2, USER), make_message(3, OTHER)])
    if fault == "callback":
        bench.fanout.afterwards(fail)
    else:
        bench.fanout.trace = fail
    bench.fanout.afterwards(lambda: happened.append(bench.fanout.completed))
    bench.fanout.deliver([make_message(4, USER)])
    faults = 0
    while bench.loop:
        try:
            bench.turn()
        except ZeroDivisionError:
            faults += 1
    assert bench.fanout.idle
    assert faults == 1
    assert (stream.received, happened) == ([1, 2, 4], [3])
    assert bench.fanout.completed == 4

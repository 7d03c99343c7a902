"""Fan-out: in order, one write a stream, in slices, and everything the socket refuses is left to the stream."""

from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import FakeClock, FakeStream, make_message, tell_gap
from tornado_sse import topic
from tornado_sse.event import GZIP_HEADER, Encoding
from tornado_sse.fanout import SLICE, STRIDE, Fanout
from tornado_sse.hub import Hub
from tornado_sse.message import Batch, Message
from tornado_sse.outbox import WRITE_SIZE, Bounds, Outbox, SlowPolicy
from tornado_sse.stats import Stats
from tornado_sse.topic import ALL, Topic


class TickingClock(FakeClock):
    """Time that also passes by looking at it: each look stands for a bit of work."""

    tick = 0.0

    def __call__(self) -> float:
        self.advance(self.tick)
        return super().__call__()


class Bench:
    """A fan-out over fake streams, and a loop whose turns are taken by hand."""

    def __init__(self) -> None:
        self.clock = TickingClock()
        self.stats = Stats()
        self.hub: Hub[FakeStream] = Hub()
        self.loop: deque[Callable[[], None]] = deque()
        self.fanout: Fanout[FakeStream] = Fanout(self.hub, self.stats, self.loop.append, self.clock)
        self.last = 0

    def open(self, *users: str, channels: tuple[str, ...] = (), encoding: Encoding = Encoding.BARE) -> list[FakeStream]:
        streams = [FakeStream(user, channels=channels, encoding=encoding) for user in users]
        for stream in streams:
            self.hub.add(stream)
        return streams

    def deliver(self, *topics: Topic | tuple[Topic, ...]) -> list[Message]:
        messages = []
        for one in topics:
            self.last += 1
            several = (one,) if isinstance(one, Topic) else one
            messages.append(make_message(self.last, *several, accepted_at=self.clock.now))
        self.fanout.deliver(messages)
        return messages

    def turn(self) -> None:
        self.loop.popleft()()

    def run(self) -> int:
        """Take turns until nothing is left to do; return how many."""
        turns = 0
        while self.loop:
            self.turn()
            turns += 1
        assert self.fanout.idle
        return turns


@pytest.fixture
def bench() -> Bench:
    return Bench()


USER, OTHER, CHANNEL = topic.user("u"), topic.user("v"), topic.channel("c")

# Who gets what, in how many writes


def test_nothing_is_written_before_the_next_turn(bench: Bench) -> None:
    (stream,) = bench.open("u")
    bench.deliver(USER)
    assert not bench.fanout.idle
    assert stream.writes == []
    assert bench.run() == 1
    assert stream.received == [1]


def test_a_burst_to_one_topic_is_one_write_a_stream(bench: Bench) -> None:
    streams = bench.open("u", "u", "v")
    for _ in range(3):
        bench.deliver(*[USER] * 100)
    assert bench.run() == 1
    assert [len(stream.writes) for stream in streams] == [1, 1, 0]
    assert all(stream.received == list(range(1, 301)) for stream in streams[:2])


def test_a_burst_to_mixed_topics_is_one_write_a_stream_too(bench: Bench) -> None:
    one, two = bench.open("u", "v", channels=("c",))
    (quiet,) = bench.open("w")
    bench.deliver(USER, CHANNEL, OTHER, ALL, (USER, CHANNEL), USER, OTHER)
    assert bench.run() == 1
    assert [len(stream.writes) for stream in (one, two, quiet)] == [1, 1, 1]
    assert (one.received, two.received, quiet.received) == ([1, 2, 4, 5, 6], [2, 3, 4, 5, 7], [4])


def test_streams_that_get_the_same_share_the_bytes(bench: Bench) -> None:
    streams = bench.open(*"uuu", channels=("c",)) + bench.open(*"vv", channels=("c",))
    bench.deliver(USER, CHANNEL, CHANNEL)
    bench.run()
    assert len({id(stream.writes[0]) for stream in streams}) == 2


def test_each_encoding_gets_its_own_bytes(bench: Bench) -> None:
    streams = [bench.open("u", encoding=encoding)[0] for encoding in [*Encoding, *Encoding]]
    messages = bench.deliver(USER, USER)
    bench.run()
    for stream in streams:
        assert stream.writes == [b"".join(message.frame.encoded(stream.encoding) for message in messages)]
        assert GZIP_HEADER not in stream.writes[0]


def test_messages_for_nobody_are_done_with(bench: Bench) -> None:
    (stream,) = bench.open("v")
    bench.deliver(USER, CHANNEL, topic.session("u", "s"))
    assert bench.run() == 1
    assert stream.writes == []
    assert bench.fanout.completed == 3


def test_messages_for_somebody_after_messages_for_nobody(bench: Bench) -> None:
    (stream,) = bench.open("v")
    bench.deliver(USER, USER, OTHER)
    bench.run()
    assert stream.received == [3]
    assert bench.fanout.completed == 3


def test_delivering_nothing_does_no_harm(bench: Bench) -> None:
    bench.deliver()
    assert bench.run() == 1
    assert bench.fanout.completed == 0


def test_one_turn_is_asked_for_however_many_deliveries(bench: Bench) -> None:
    for _ in range(10):
        bench.deliver(ALL)
    assert len(bench.loop) == 1


def test_the_hot_path_is_one_send_a_stream_and_nothing_else(bench: Bench) -> None:
    # A guard: no look at the clock, no encoding, no counting per delivery may creep in.
    streams = bench.open(*["u"] * (4 * STRIDE))
    looks: list[float] = []
    bench.fanout._clock = lambda: looks.append(0.0) or 0.0  # type: ignore[func-returns-value]
    bench.deliver(*[USER] * 50)
    bench.run()
    assert [len(stream.writes) for stream in streams] == [1] * len(streams)
    assert len({id(stream.writes[0]) for stream in streams}) == 1
    assert len(looks) <= 4 + 6


# Writes of a good size


@pytest.mark.parametrize("topics", [[USER], [USER, CHANNEL]])
def test_a_great_burst_leaves_in_writes_of_a_good_size(bench: Bench, topics: list[Topic]) -> None:
    streams = bench.open("u", "u", channels=("c",))
    messages = [make_message(number + 1, topics[number // 700 % len(topics)], data="x" * 200) for number in range(2100)]
    bench.fanout.deliver(messages)
    bench.run()
    for stream in streams:
        assert stream.received == list(range(1, 2101))
        assert len(stream.writes) < 12
        assert all(len(write) < WRITE_SIZE + 300 for write in stream.writes)
    assert len({id(write) for stream in streams for write in stream.writes}) == len(streams[0].writes)
    assert bench.fanout.completed == 2100


def test_a_great_burst_of_great_messages_is_one_write_each(bench: Bench) -> None:
    (stream,) = bench.open("u")
    bench.fanout.deliver([make_message(number, USER, data="x" * WRITE_SIZE) for number in range(1, 4)])
    bench.run()
    assert [len(write) // WRITE_SIZE for write in stream.writes] == [1, 1, 1]
    assert stream.received == [1, 2, 3]


# Figures


def test_deliveries_and_bytes_are_counted(bench: Bench) -> None:
    one, two = bench.open("u", "u")
    messages = bench.deliver(USER, USER, ALL)
    bench.run()
    size = sum(len(message.frame.body) for message in messages)
    assert (bench.stats.messages_delivered, bench.stats.bytes_sent) == (6, 2 * size)
    assert (one.sent, two.sent) == (3, 3)


def test_times_are_observed(bench: Bench) -> None:
    bench.open("u")
    bench.deliver(USER, USER)
    bench.clock.advance(0.03)
    bench.run()
    assert bench.stats.delivery.sum == pytest.approx(0.06)
    assert sum(bench.stats.delivery.counts) == 2
    assert sum(bench.stats.fanout.counts) == 1
    assert bench.stats.fanout.sum == 0


def test_completed_is_what_was_wholly_handed_over(bench: Bench) -> None:
    bench.open(*["u"] * 3 * STRIDE)
    for stream in bench.hub.streams:
        stream.takes = costly(bench.clock)
    bench.deliver(USER, USER)
    bench.turn()
    assert (bench.fanout.completed, bench.fanout.idle) == (0, False)
    bench.run()
    assert bench.fanout.completed == 2


# What the socket does not take


def test_a_socket_that_takes_a_part_leaves_the_rest_to_the_stream(bench: Bench) -> None:
    partial, full = bench.open("u", "u")
    partial.takes = lambda data: len(data) - 1
    messages = bench.deliver(USER, USER)
    bench.run()
    size = sum(len(message.frame.body) for message in messages)
    assert partial.backlogs == [([1, 2], size - 1)]
    assert (partial.sent, full.sent) == (0, 2)
    assert (bench.stats.messages_delivered, bench.stats.bytes_sent) == (2, 2 * size - 1)


@pytest.mark.parametrize("error", [BlockingIOError(), BrokenPipeError(), ConnectionResetError(), OSError("closed")])
def test_an_error_of_the_socket_is_the_streams_to_judge(bench: Bench, error: OSError) -> None:
    def fail(_: bytes) -> int:
        raise error

    broken, whole = bench.open("u", "u")
    broken.takes = fail
    bench.deliver(USER, USER)
    bench.run()
    assert broken.failures == [([1, 2], error)]
    assert (broken.sent, whole.received) == (0, [1, 2])
    assert bench.stats.messages_delivered == 2


def test_a_stream_with_a_backlog_gets_no_write_past_it(bench: Bench) -> None:
    slow, quick = bench.open("u", "u")
    slow.outbox = Outbox(Bounds(1000, 10, SlowPolicy.DISCONNECT), Encoding.BARE, 0, lambda *_: make_message(1).frame)
    bench.deliver(USER, USER)
    bench.run()
    assert (slow.writes, slow.backlogs) == ([], [([1, 2], 0)])
    assert quick.received == [1, 2]
    assert bench.stats.messages_delivered == 2


# Slices


def costly(clock: FakeClock, seconds: float = SLICE / 10) -> Callable[[bytes], int]:
    """A socket whose every send takes so long."""

    def takes(data: bytes) -> int:
        clock.advance(seconds)
        return len(data)

    return takes


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


def test_a_slice_is_as_long_as_the_clock_says(bench: Bench) -> None:
    streams = bench.open(*["u"] * 10 * STRIDE)
    for stream in streams:
        stream.takes = costly(bench.clock, SLICE / (3 * STRIDE - 1))
    bench.deliver(USER)
    bench.turn()
    assert sum(len(stream.writes) for stream in streams) == 3 * STRIDE
    assert bench.run() == 3


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
    assert turns == len(streams) // 3 + 1, "the last finds that nobody is left"
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
    turns = 0
    while bench.loop:
        begun = bench.clock.now
        bench.turn()
        turns += 1
        assert bench.clock.now - begun < 3 * SLICE
    assert turns > 10
    assert bench.fanout.completed == count
    assert [stream.received for stream in streams] == [[number + 1] for number in range(len(streams))]


def test_a_message_to_very_many_is_planned_alone_when_time_is_short(bench: Bench) -> None:
    (stream,) = bench.open("u", channels=("c",))
    bench.clock.tick = SLICE
    bench.deliver(ALL, CHANNEL, USER)
    assert bench.run() == 3
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
        wanted = [message for message in messages if stream in bench.hub.matching(message.topics)]
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

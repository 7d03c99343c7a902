"""Fan-out: in order, one write a stream, and everything the socket refuses is left to the stream."""

import pytest

from fanout_support import CHANNEL, OTHER, USER, Bench, costly
from support import make_message
from tornado_sse import topic
from tornado_sse.event import GZIP_HEADER, Encoding, Frame
from tornado_sse.fanout import STRIDE
from tornado_sse.outbox import WRITE_SIZE, Bounds, Outbox, SlowPolicy
from tornado_sse.topic import ALL, Topic


@pytest.fixture
def bench() -> Bench:
    return Bench()


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


def test_who_wants_labels_is_told_the_channels_and_the_others_get_the_frame_as_it_is(bench: Bench) -> None:
    (plain,) = bench.open("v", channels=("c", "d"))
    one, two = bench.open("u", "u", channels=("c", "d"), labelled=True)
    (only,) = bench.open("w", channels=("d",), labelled=True)
    (message,) = bench.deliver(CHANNEL)
    bench.run()
    assert one.writes == [b"channel: c\n" + message.frame.body]
    assert two.writes[0] is one.writes[0]
    assert (plain.writes, only.writes) == ([message.frame.body], [])
    several, mixed = bench.deliver((CHANNEL, topic.channel("d")), (USER, topic.channel("d")))
    bench.run()
    assert one.writes[1:] == [b"channel: c\nchannel: d\n" + several.frame.body + mixed.frame.body]
    assert only.writes == [b"".join(b"channel: d\n" + message.frame.body for message in (several, mixed))]
    assert plain.writes[1:] == [several.frame.body + mixed.frame.body]
    assert one.received == [1, 2, 3]


@pytest.mark.parametrize("encoding", list(Encoding))
def test_labels_come_in_every_encoding(encoding: Encoding, bench: Bench) -> None:
    (stream,) = bench.open("u", channels=("c",), encoding=encoding, labelled=True)
    (message,) = bench.deliver(CHANNEL)
    bench.run()
    assert stream.writes == [Frame(b"channel: c\n" + message.frame.body).encoded(encoding)]
    assert stream.sent == 1


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

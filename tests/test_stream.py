"""Streams over socket pairs, driven by hand."""

import errno
import json
import socket
from collections.abc import Iterator

import pytest

from server_support import Clock
from stream_support import BOUNDS, SMALL, Bench, bench_with, break_socket, drained, ended, received, texts
from tornado_sse.event import LAST_CHUNK, Encoding, Frame
from tornado_sse.message import Batch, Draft, number
from tornado_sse.notices import CloseReason
from tornado_sse.outbox import Bounds, SlowPolicy
from tornado_sse.position import Position
from tornado_sse.stream import WRITES
from tornado_sse.topic import ALL


@pytest.fixture
def bounds() -> Bounds:
    return BOUNDS


@pytest.fixture
def bench(clock: Clock, bounds: Bounds) -> Iterator[Bench]:
    with bench_with(clock, bounds) as bench:
        yield bench


def test_nothing_leaves_before_the_start_and_then_the_past_comes_first(bench: Bench) -> None:
    stream, peer = bench.held()
    bench.publish("in the past", "live")
    assert received(peer) == b""
    assert bench.stats.outbox_bytes > 0
    past = number(Draft((ALL,), "in the past"), Position("e", 1), 0)
    stream.start([b":head\n\n", past], 1)
    assert texts(received(peer).decode()) == ["", "in the past", "live"]
    assert (stream.sent, bench.stats.messages_delivered, bench.stats.outbox_bytes) == (2, 2, 0)
    bench.publish("later")
    assert texts(received(peer).decode()) == ["later"]


def test_a_stream_is_live_only_once_fanout_is_past_its_floor(bench: Bench) -> None:
    stream, peer = bench.held()
    stream.start([b":head\n\n"], 1)
    assert received(peer) == b":head\n\n"
    assert stream.outbox is not None, "the past reaches to a message that fan-out has not dealt with"
    assert stream.keepalive(), "it may have to wait for long, if the broker is gone"
    assert received(peer) == b":\n\n"
    bench.publish("in the past already", "live")
    assert texts(received(peer).decode()) == ["live"]
    assert stream.outbox is not None
    bench.clock.advance(2)
    bench.registry.tick()
    assert stream.outbox is None


@pytest.mark.parametrize(
    ("encoding", "wire"),
    [(Encoding.CHUNKED, b"15\r\ndata: hello\nid: e-1\n\n\r\n"), (Encoding.BARE, b"data: hello\nid: e-1\n\n")],
)
def test_a_message_leaves_in_the_encoding_of_the_stream(bench: Bench, encoding: Encoding, wire: bytes) -> None:
    _, peer = bench.live(encoding)
    bench.publish("hello")
    assert received(peer) == wire
    assert bench.stats.bytes_sent == len(wire)


@pytest.mark.parametrize(
    ("encoding", "end"), [(Encoding.CHUNKED, LAST_CHUNK), (Encoding.GZIP, LAST_CHUNK), (Encoding.BARE, b"")]
)
def test_a_farewell_and_the_end_of_the_body_come_last(bench: Bench, encoding: Encoding, end: bytes) -> None:
    stream, peer = bench.live(encoding)
    stream.close(CloseReason.DRAINING, 1500)
    farewell = b'retry: 1500\nevent: stream-closing\ndata: {"reason": "draining", "reconnect": true}\n\n'
    assert received(peer) == Frame(farewell).encoded(encoding) + end
    assert ended(peer)
    stream.close(CloseReason.EXPIRED)
    stream.abandon()
    stream.notice(Frame(b":late\n\n"))
    assert bench.stats.streams_closed == {"draining": 1}


def test_a_backlog_goes_on_when_the_socket_takes_bytes_again(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    bench.publish("second")
    stream.notice(Frame(b":notice\n\n"))
    stream.writable()
    stream.writable()
    assert (stream.sent, bench.stats.messages_delivered) == (0, 0)
    assert not stream.keepalive(), "bytes are waiting anyway"
    assert texts(drained(stream, peer)) == ["x" * 20 * SMALL, "second", ""]
    assert (stream.sent, bench.stats.messages_delivered, bench.stats.outbox_bytes) == (2, 2, 0)
    assert stream.outbox is None
    stream.writable()
    assert stream.keepalive()
    assert received(peer) == b":\n\n"


def test_bytes_sent_are_those_that_arrived(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    bench.publish("second")
    arrived = drained(stream, peer)
    assert bench.stats.bytes_sent == len(arrived)


def test_one_socket_does_not_keep_the_others_waiting(bench: Bench) -> None:
    stream, peer = bench.held()
    writes = []

    def send(data: bytes) -> int:
        writes.append(data)
        return len(data)

    stream.send = send
    past = number(Draft((ALL,), "the past"), Position("e", 1), 0)
    stream.start([*[b"x" * 65536] * WRITES, past], 1)
    assert len(writes) == WRITES
    stream.writable()
    assert len(writes) == WRITES + 1
    assert b"the past" in writes[-1]
    assert received(peer) == b""


def test_who_missed_nothing_is_live_at_once(bench: Bench) -> None:
    stream, peer = bench.held()
    stream.start([b":head\n\n", b":opening\n\n"], 0)
    assert stream.outbox is None
    assert received(peer) == b":head\n\n:opening\n\n"
    assert (bench.stats.bytes_sent, bench.stats.outbox_bytes, bench.registry.buffered) == (17, 0, {})
    bench.publish("live")
    assert texts(received(peer).decode()) == ["live"]


def test_a_beginning_that_the_socket_does_not_take_waits(bench: Bench) -> None:
    stream, peer = bench.held()
    send = stream.send
    break_socket(stream, BlockingIOError())
    stream.start([b":head\n\n"], 0)
    bench.publish("live")
    stream.send = send
    assert drained(stream, peer) == ":head\n\ndata: live\nid: e-1\n\n"
    assert stream.outbox is None


def test_a_beginning_on_a_broken_socket_ends_the_stream(bench: Bench) -> None:
    stream, peer = bench.held()
    break_socket(stream, BrokenPipeError())
    stream.start([b":head\n\n"], 0)
    assert ended(peer)
    assert bench.stats.streams_closed == {"write_error": 1}
    assert bench.registry.buffered == {}


def test_a_batch_cut_in_the_middle_goes_on_with_the_right_message(bench: Bench) -> None:
    stream, peer = bench.live()
    batch = Batch([bench.message("one"), bench.message("two"), bench.message("three")])
    stream.backlog(batch, len("data: one\nid: e-1\n\ndata: "))
    assert drained(stream, peer) == "two\nid: e-2\n\ndata: three\nid: e-3\n\n"
    assert (stream.sent, bench.stats.messages_delivered) == (3, 3)


def test_a_full_socket_is_no_error(bench: Bench) -> None:
    stream, peer = bench.live()
    stream.send_failed(Batch([bench.message("kept")]), BlockingIOError())
    assert texts(drained(stream, peer)) == ["kept"]


def test_any_other_error_of_a_write_ends_the_stream(bench: Bench) -> None:
    stream, peer = bench.live()
    break_socket(stream, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    batch = Batch([bench.message("never seen"), bench.message("nor this")])
    stream.send_failed(batch, BrokenPipeError())
    stream.send_failed(batch, BrokenPipeError())
    assert ended(peer)
    assert bench.stats.streams_closed == {"write_error": 1}
    assert bench.stats.messages_dropped == {"closed": 2}
    assert bench.registry.hub.streams == {}


def test_a_keepalive_on_a_broken_socket_ends_the_stream(bench: Bench) -> None:
    stream, peer = bench.live()
    break_socket(stream, ConnectionResetError())
    stream.keepalive()
    assert ended(peer)
    assert bench.stats.streams_closed == {"write_error": 1}
    assert bench.registry.addresses == {}


def test_a_backlog_on_a_broken_socket_ends_the_stream(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    bench.publish("second")
    break_socket(stream, ConnectionResetError())
    stream.writable()
    received(peer)
    assert ended(peer)
    assert bench.stats.streams_closed == {"write_error": 1}
    assert bench.stats.outbox_bytes == 0
    assert bench.stats.messages_dropped["closed"] == 2


def test_a_keepalive_that_the_socket_does_not_take_waits(bench: Bench) -> None:
    stream, peer = bench.live()
    send = stream.send
    break_socket(stream, BlockingIOError())
    stream.keepalive()
    assert stream.outbox is not None
    stream.send = send
    assert drained(stream, peer) == ":\n\n"
    assert bench.stats.bytes_sent == 3


@pytest.mark.parametrize("over", ["bytes", "age"])
def test_a_slow_stream_is_ended_with_a_farewell_behind_what_is_half_written(bench: Bench, over: str) -> None:
    stream, peer = bench.backlogged()
    bench.publish("cut off")
    if over == "bytes":
        bench.publish("y" * 50 * SMALL)
    else:
        bench.clock.advance(11)
        bench.registry.tick()
    assert bench.stats.streams_closed == {"slow": 1}
    bench.publish("too late")
    stream.check_age()
    first, farewell = texts(drained(stream, peer))
    assert first == "x" * 20 * SMALL
    assert json.loads(farewell) == {"reason": "slow", "reconnect": True}
    assert ended(peer)
    assert bench.stats.outbox_bytes == 0


def test_a_farewell_that_nobody_takes_is_given_up(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    stream.close(CloseReason.EXPIRED)
    assert len(bench.registry.farewells) == 1
    assert bench.stats.messages_dropped["closed"] == 0
    bench.clock.advance(2)
    bench.registry.tick()
    assert len(bench.registry.farewells) == 0
    assert bench.stats.messages_dropped["closed"] == 1, "it was half written"
    assert set(received(peer)) <= set(b"data: xxx\nid: e-1")
    assert ended(peer)


def test_what_waits_leaves_before_the_farewell(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    bench.publish("second")
    stream.close(CloseReason.DISCONNECTED)
    stream.backlog(Batch([bench.message("on its way")]), 0)
    assert texts(drained(stream, peer))[1:] == ["second", '{"reason": "disconnected", "reconnect": false}']
    assert ended(peer)
    bench.clock.advance(2)
    bench.registry.tick()


def test_a_client_that_leaves_during_its_farewell_is_let_go(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    stream.close(CloseReason.DISCONNECTED)
    peer.close()
    stream.readable()
    assert bench.stats.streams_closed == {"disconnected": 1}
    assert bench.registry.buffered == {}


@pytest.mark.parametrize("bounds", [Bounds(30 * SMALL, 10.0, SlowPolicy.DROP_OLDEST)])
def test_drop_oldest_tells_of_the_gap_and_keeps_the_newest(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    for name in "abcdef":
        bench.publish(name * 5 * SMALL)
    assert 0 < bench.stats.outbox_bytes <= 30 * SMALL
    first, gap, *kept = texts(drained(stream, peer))
    assert first == "x" * 20 * SMALL
    assert json.loads(gap) == {"from": "e-1", "to": "e-6", "reason": "slow"}
    assert kept == ["f" * 5 * SMALL]
    assert bench.stats.messages_dropped == {"drop-oldest": 5}
    assert bench.stats.gaps == {"slow": 1}
    assert bench.stats.outbox_bytes == 0
    bench.publish("live again")
    assert texts(received(peer).decode()) == ["live again"]


@pytest.mark.parametrize("bounds", [Bounds(60 * SMALL, 10.0, SlowPolicy.DROP_OLDEST)])
def test_drop_oldest_drops_what_is_too_old(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    bench.publish("old")
    bench.clock.advance(6)
    bench.publish("younger")
    bench.clock.advance(5)
    bench.registry.tick()
    assert bench.stats.messages_dropped == {"drop-oldest": 1}
    _, gap, younger = texts(drained(stream, peer))
    assert json.loads(gap) == {"from": "e-1", "to": "e-2", "reason": "slow"}
    assert younger == "younger"


@pytest.mark.parametrize("bounds", [Bounds(60 * SMALL, 10.0, SlowPolicy.CONFLATE)])
def test_conflate_keeps_the_newest_of_a_key(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    for price in ("1", "2", "3"):
        bench.publish(price, key="price")
    bench.publish("no key")
    assert texts(drained(stream, peer))[1:] == ["3", "no key"]
    assert bench.stats.messages_dropped == {"conflate": 2}


@pytest.mark.parametrize("bounds", [Bounds(60 * SMALL, 10.0, SlowPolicy.CONFLATE)])
def test_every_message_is_delivered_or_dropped_when_a_batch_is_too_much(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    prices = ["1", "2", "y" * 50 * SMALL, "never looked at", "nor this"]
    stream.backlog(Batch([bench.message(price, key="price") for price in prices]), 0)
    assert bench.stats.streams_closed == {"slow": 1}
    drained(stream, peer)
    assert stream.sent == 1
    assert bench.stats.messages_dropped == {"conflate": 2, "closed": 3}
    assert bench.stats.outbox_bytes == 0


@pytest.mark.parametrize("bounds", [Bounds(60 * SMALL, 10.0, SlowPolicy.CONFLATE)])
def test_a_drop_is_put_down_to_the_policy_that_made_it(bench: Bench) -> None:
    bench.backlogged()
    bench.registry.bounds = Bounds(60 * SMALL, 10.0, SlowPolicy.DROP_OLDEST)
    bench.publish("1", "2", key="price")
    assert bench.stats.messages_dropped == {"conflate": 1}


def test_stray_bytes_are_thrown_away_and_the_end_is_noticed(bench: Bench) -> None:
    stream, peer = bench.live()
    peer.send(b"GET / HTTP/1.1\r\n\r\n")
    stream.readable()
    stream.readable()
    assert bench.stats.streams_closed == {}
    peer.shutdown(socket.SHUT_WR)
    stream.readable()
    assert bench.stats.streams_closed == {"client_gone": 1}
    assert ended(peer)


@pytest.mark.parametrize(
    ("error", "reason"), [(ConnectionResetError(), "client_gone"), (TimeoutError(), "write_error")]
)
def test_an_error_of_reading_ends_the_stream(bench: Bench, error: OSError, reason: str) -> None:
    stream, peer = bench.live()

    class Failing:
        def recv_into(self, _: bytearray) -> int:
            raise error

        def __getattr__(self, name: str) -> object:
            return getattr(connection, name)

    connection = stream._socket
    stream._socket = Failing()  # type: ignore[assignment]
    stream.readable()
    assert ended(peer)
    assert bench.stats.streams_closed == {reason: 1}

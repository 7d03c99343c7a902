"""Streams that are held: they end, or their client leaves, before their past is there."""

import socket
from collections.abc import Iterator

import pytest

from client_support import parse_block
from server_support import Clock
from stream_support import SMALL, Bench, bench_with, break_socket, drained, ended, received
from tornado_sse import notices
from tornado_sse.event import LAST_CHUNK, Encoding, Frame
from tornado_sse.notices import CloseReason
from tornado_sse.outbox import Bounds, SlowPolicy


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    with bench_with(clock) as bench:
        yield bench


@pytest.mark.parametrize("reason", [reason for reason in CloseReason if reason.ours])
@pytest.mark.parametrize(
    ("encoding", "end"), [(Encoding.CHUNKED, LAST_CHUNK), (Encoding.GZIP, LAST_CHUNK), (Encoding.BARE, b"")]
)
def test_a_stream_that_ends_before_its_start_gives_a_whole_answer_all_the_same(
    bench: Bench, reason: CloseReason, encoding: Encoding, end: bytes
) -> None:
    stream, peer = bench.held(encoding, (b"head", "e-7"))
    bench.publish("never seen")
    stream.notice(Frame(b":never seen\n\n"))
    stream.close(reason, 1500)
    stream.start([b":too late\n\n"], 0)
    assert received(peer) == b"head" + notices.closing(reason, 1500, position="e-7").encoded(encoding) + end
    assert ended(peer)
    assert (bench.stats.outbox_bytes, bench.registry.buffered) == (0, {})
    assert bench.stats.messages_dropped == {"closed": 1}
    assert bench.stats.streams_closed == {reason.value: 1}


def test_who_was_told_nothing_is_told_when_to_come_back(bench: Bench) -> None:
    peers = []
    for _ in range(100):
        stream, peer = bench.held()
        stream.close(CloseReason.SLOW)
        peers.append(peer)
    blocks = [parse_block(received(peer).decode().strip()) for peer in peers]
    assert {block.id for block in blocks} == {None}
    assert len({block.retry for block in blocks}) > 50, "so that not all come at once"


def test_the_answer_to_who_was_told_nothing_waits_for_a_full_socket(bench: Bench) -> None:
    stream, peer = bench.held(preamble=(b":head\n\n", None))
    send = stream.send
    break_socket(stream, BlockingIOError())
    stream.close(CloseReason.LIMIT)
    assert received(peer) == b""
    stream.send = send
    head, farewell = drained(stream, peer).strip().split("\n\n")
    assert (head, parse_block(farewell).event) == (":head", "stream-closing")
    assert ended(peer)


def test_a_client_that_leaves_before_the_start_is_told_nothing(bench: Bench) -> None:
    stream, peer = bench.held(preamble=(b"head", None))
    peer.shutdown(socket.SHUT_WR)
    stream.readable()
    stream.start([b":too late\n\n"], 0)
    assert received(peer) == b""
    assert ended(peer)
    assert bench.stats.streams_closed == {"client_gone": 1}


@pytest.mark.parametrize(("end", "gaps"), [("starts behind it", {"slow": 1}), ("starts with it", {}), ("ends", {})])
def test_a_hole_that_was_dropped_meanwhile_counts_once_it_is_told(clock: Clock, end: str, gaps: dict[str, int]) -> None:
    with bench_with(clock, Bounds(SMALL, 10.0, SlowPolicy.DROP_OLDEST)) as bench:
        stream, peer = bench.held()
        bench.publish(*["x" * SMALL] * 3)
        if end == "ends":
            stream.close(CloseReason.LIMIT)
        else:
            stream.start([], 0 if end == "starts behind it" else 3)
        assert (b"stream-gap" in received(peer)) is bool(gaps)
        assert bench.stats.gaps == gaps


@pytest.mark.parametrize("floor", [0, 1])
def test_the_preamble_comes_first_and_once(bench: Bench, floor: int) -> None:
    stream, peer = bench.held(preamble=(b"head\n\n", "e-7"))
    stream.start([b":opening\n\n"], floor)
    assert received(peer) == b"head\n\n:opening\n\n"
    stream.close(CloseReason.SLOW)
    assert received(peer).startswith(b"event: stream-closing\n")

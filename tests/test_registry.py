import json
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from client_support import parse_block
from server_support import Clock
from stream_support import Bench, bench_with, break_socket, drained, ended, received, texts
from tornado_sse.notices import CloseReason
from tornado_sse.registry import EXPIRY_WARNING, FAREWELL_TIME
from tornado_sse.ring import SLOTS
from tornado_sse.steps import SLICE
from tornado_sse.stream import Stream


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    with bench_with(clock) as bench:
        yield bench


def notices(peer: socket.socket) -> list[tuple[str | None, object]]:
    blocks = [parse_block(text) for text in received(peer).decode().split("\n\n") if text]
    return [(block.event, block.json()) for block in blocks]


def tick_for(bench: Bench, seconds: float, step: float = 0.125) -> None:
    for _ in range(round(seconds / step)):
        bench.clock.advance(step)
        bench.registry.tick()


def test_keeps_and_forgets_a_stream_everywhere(bench: Bench) -> None:
    registry, ends = bench.registry, list[Stream]()
    registry.on_ended = ends.append
    first, _ = bench.live(channels=("a", "b"))
    second, _ = bench.live(address="other")
    assert registry.addresses == {"a": 1, "other": 1}
    assert len(registry.hub.streams) == 2
    first.close(CloseReason.LIMIT)
    assert registry.addresses == {"other": 1}
    assert list(registry.hub.channels.get("a")) == []
    assert list(registry.hub.users.get("u")) == [second]
    second.close(CloseReason.LIMIT)
    assert ends == [first, second]
    assert (len(registry.hub.streams), len(registry.hub.sessions), len(registry.hub.users)) == (0, 0, 0)
    assert registry.addresses == {}
    assert bench.stats.streams_opened == 2
    assert bench.stats.streams_closed == {"limit": 2}


def test_two_streams_of_one_address_count_as_two(bench: Bench) -> None:
    first, _ = bench.live()
    bench.live()
    assert bench.registry.addresses == {"a": 2}
    first.close(CloseReason.LIMIT)
    assert bench.registry.addresses == {"a": 1}


def test_logs_one_line_at_the_close(bench: Bench) -> None:
    session = "a-session-id-that-must-not-be-logged"
    with capture_logs() as logs:
        stream, _ = bench.live(session=session, channels=("a",))
        bench.publish("one")
        bench.publish("two")
        bench.clock.advance(2.5)
        stream.close(CloseReason.EXPIRED)
    (closed,) = logs
    assert closed == {
        "event": "stream closed",
        "log_level": "info",
        "session": closed["session"],
        "user": "u",
        "address": "a",
        "channels": 1,
        "reason": "expired",
        "duration": 2.5,
        "messages": 2,
    }
    assert len(closed["session"]) == 8
    assert session not in json.dumps(logs)
    assert bench.stats.stream_duration.sum == pytest.approx(2.5)


def test_each_stream_gets_a_keepalive_once_an_interval_spread_over_it(bench: Bench) -> None:
    peers = [bench.live()[1] for _ in range(SLOTS)]
    moments: dict[int, list[float]] = {index: [] for index in range(SLOTS)}
    start = bench.clock()
    for _ in range(360):
        tick_for(bench, 0.125)
        for index, peer in enumerate(peers):
            comments = received(peer)
            assert comments in (b"", b":\n\n")
            if comments:
                moments[index].append(bench.clock() - start)
    for times in moments.values():
        assert len(times) == 3
        assert all(abs(later - sooner - 15) < 0.5 for sooner, later in pairwise(times))
    firsts = sorted(times[0] for times in moments.values())
    assert all(later - sooner < 0.5 for sooner, later in pairwise(firsts))
    assert bench.stats.keepalives_sent == 3 * SLOTS


def test_a_keepalive_held_back_by_a_backlog_is_not_counted(bench: Bench) -> None:
    bench.backlogged()
    tick_for(bench, 9)
    assert bench.stats.keepalives_sent == 0


def test_a_stream_whose_past_is_yet_to_come_gets_no_keepalive(bench: Bench) -> None:
    _, peer = bench.held()
    tick_for(bench, 16)
    assert received(peer) == b""
    assert bench.stats.keepalives_sent == 0


def test_a_stream_that_only_waits_for_fanout_gets_keepalives(bench: Bench) -> None:
    stream, peer = bench.held()
    stream.start([b":head\n\n"], 9)
    tick_for(bench, 46)
    assert stream.outbox is not None
    assert received(peer) == b":head\n\n" + b":\n\n" * 3
    assert bench.stats.keepalives_sent == 3


@pytest.mark.parametrize("end", ["reads on", "leaves", "is given up"])
def test_counts_streams_with_bytes_waiting_for_their_sockets(bench: Bench, end: str) -> None:
    idle, _ = bench.held()
    idle.start([b":head\n\n"], 9)
    bench.held()
    counts = [bench.stats.backlogged_streams]
    stream, peer = bench.backlogged()
    counts.append(bench.stats.backlogged_streams)
    if end == "reads on":
        drained(stream, peer)
    elif end == "leaves":
        peer.close()
        stream.readable()
    else:
        stream.close(CloseReason.LIMIT)
        counts.append(bench.stats.backlogged_streams)
        stream.abandon()
    counts.append(bench.stats.backlogged_streams)
    assert counts == ([0, 1, 1, 0] if end == "is given up" else [0, 1, 0])
    assert len(bench.registry.buffered) == 2


def test_warns_of_the_end_of_the_token_and_ends_with_it(bench: Bench) -> None:
    _, peer = bench.live(expires_at=bench.clock() + 60)
    tick_for(bench, 29)
    assert texts(received(peer).decode().replace(":\n\n", "")) == []
    tick_for(bench, 2)
    assert ("stream-expiring", {"expiresIn": 29}) in notices_with_comments(peer)
    tick_for(bench, 28)
    assert bench.stats.streams_closed == {}
    tick_for(bench, 2)
    assert notices_with_comments(peer)[-1] == ("stream-closing", {"reason": "expired", "reconnect": False})
    assert ended(peer)
    assert bench.stats.streams_closed == {"expired": 1}


def notices_with_comments(peer: socket.socket) -> list[tuple[str | None, object]]:
    blocks = [parse_block(text) for text in received(peer).decode().split("\n\n") if text]
    return [(block.event, block.json()) for block in blocks if block.data is not None]


def test_a_short_token_is_warned_at_once(bench: Bench) -> None:
    _, peer = bench.live(expires_at=bench.clock() + 5)
    tick_for(bench, 1)
    assert notices(peer) == [("stream-expiring", {"expiresIn": 4})]
    tick_for(bench, 5)
    assert notices(peer) == [("stream-closing", {"reason": "expired", "reconnect": False})]


def test_a_stream_that_its_warning_finds_broken_is_forgotten(bench: Bench) -> None:
    stream, _ = bench.live(expires_at=bench.clock() + EXPIRY_WARNING)
    break_socket(stream, BrokenPipeError())
    tick_for(bench, 1)
    assert bench.stats.streams_closed == {"write_error": 1}
    assert stream.due == 0, "nothing is to be done for it any more"


def test_a_refresh_moves_the_end_and_never_forward(bench: Bench) -> None:
    end = bench.clock() + 60
    stream, peer = bench.live(expires_at=end)
    twin, _ = bench.live(expires_at=end + 1000)
    assert bench.registry.refresh("u", "s", (), end + 100) == end + 1000
    assert (stream.expires_at, twin.expires_at) == (end + 100, end + 1000)
    assert bench.registry.refresh("u", "s", (), end) == end + 1000
    assert stream.expires_at == end + 100
    tick_for(bench, 100 + 60 - EXPIRY_WARNING - 1)
    assert notices_with_comments(peer) == []
    tick_for(bench, 2)
    assert [event for event, _ in notices_with_comments(peer)] == ["stream-expiring"]
    assert bench.registry.refresh("u", "another", (), end) is None


def test_a_refresh_lengthens_only_streams_whose_every_channel_is_allowed(bench: Bench) -> None:
    end = bench.clock() + 60
    plain, _ = bench.live(expires_at=end)
    allowed, _ = bench.live(expires_at=end, channels=("news.a", "b"))
    partly, _ = bench.live(expires_at=end + 1000, channels=("news.a", "secret"))
    assert bench.registry.refresh("u", "s", ["news.*", "b"], end + 100) == end + 100
    assert [stream.expires_at for stream in (plain, allowed, partly)] == [end + 100, end + 100, end + 1000]
    plain.close(CloseReason.LIMIT)
    assert bench.registry.refresh("u", "s", ["news.*"], end + 200) is None
    assert [stream.expires_at for stream in (allowed, partly)] == [end + 100, end + 1000]


def test_a_refresh_after_the_warning_calls_for_another_warning(bench: Bench) -> None:
    stream, peer = bench.live(expires_at=bench.clock() + 20)
    tick_for(bench, 1)
    assert [event for event, _ in notices(peer)] == ["stream-expiring"]
    bench.registry.refresh("u", "s", (), stream.expires_at + 60)
    tick_for(bench, 40)
    assert notices_with_comments(peer) == []
    tick_for(bench, 15)
    assert [event for event, _ in notices_with_comments(peer)] == ["stream-expiring"]


def test_a_refresh_that_does_not_lengthen_calls_for_no_other_warning(bench: Bench) -> None:
    end = bench.clock() + 20
    _, peer = bench.live(expires_at=end)
    tick_for(bench, 1)
    assert [event for event, _ in notices(peer)] == ["stream-expiring"]
    assert bench.registry.refresh("u", "s", (), end) == end
    tick_for(bench, 10)
    assert notices_with_comments(peer) == []
    tick_for(bench, 10)
    assert notices_with_comments(peer) == [("stream-closing", {"reason": "expired", "reconnect": False})]


def test_a_disconnect_ends_all_streams_of_the_session_and_of_no_other(bench: Bench) -> None:
    bench.live()
    bench.live()
    other, _ = bench.live(session="other")
    foreign, _ = bench.live(user="v")
    bench.registry.disconnect("u", "s")
    assert set(bench.registry.hub.streams) == {other, foreign}
    assert bench.registry.sessions.is_disconnected("u", "s")
    assert not bench.registry.sessions.is_disconnected("v", "s")
    assert not bench.registry.knows("u", "s")
    bench.clock.advance(60)
    assert not bench.registry.sessions.is_disconnected("u", "s")


def test_a_revoked_user_loses_all_streams(bench: Bench) -> None:
    bench.live()
    _, peer = bench.live(session="other")
    foreign, _ = bench.live(user="v")
    bench.registry.revoke("u")
    assert list(bench.registry.hub.streams) == [foreign]
    assert notices(peer) == [("stream-closing", {"reason": "revoked", "reconnect": False})]


def test_others_have_their_turn_while_many_streams_of_a_user_end(bench: Bench) -> None:
    for _ in range(8):
        bench.live()
    bench.registry.on_ended = lambda _: bench.clock.advance(SLICE / 2.5)
    later: list[Callable[[], None]] = []
    bench.registry.fanout._schedule = later.append
    bench.registry.revoke("u")
    assert len(bench.registry.hub.streams) == 5
    while later:
        later.pop(0)()
    assert bench.stats.streams_closed == {"revoked": 8}
    bench.registry.revoke("nobody")
    assert later == []


def test_a_session_is_known_for_a_while_after_its_last_stream(bench: Bench) -> None:
    first, _ = bench.live()
    second, _ = bench.live()
    assert bench.registry.knows("u", "s")
    first.close(CloseReason.LIMIT)
    second.close(CloseReason.LIMIT)
    assert bench.registry.knows("u", "s")
    bench.clock.advance(60)
    assert not bench.registry.knows("u", "s")
    assert not bench.registry.knows("v", "s")


def test_times_to_reconnect_are_spread_around_the_mean(bench: Bench) -> None:
    times = [bench.registry.retry() for _ in range(1000)]
    assert 1000 <= min(times) < 1100
    assert 2900 < max(times) <= 3000
    assert 1900 < sum(times) / 1000 < 2100


def test_a_farewell_that_nobody_takes_is_given_up_in_time(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    stream.close(CloseReason.LIMIT)
    bench.clock.advance(FAREWELL_TIME - 0.5)
    bench.registry.tick()
    assert not stream.is_closed
    bench.clock.advance(0.5)
    bench.registry.tick()
    received(peer)
    assert ended(peer)
    assert len(bench.registry.farewells) == 0


def test_a_farewell_that_was_taken_is_forgotten(bench: Bench) -> None:
    stream, peer = bench.backlogged()
    stream.close(CloseReason.LIMIT)
    drained(stream, peer)
    assert stream.is_closed
    bench.registry.tick()
    assert len(bench.registry.farewells) == 0


def test_many_ends_at_one_time_leave_turns_to_others(bench: Bench) -> None:
    for _ in range(40):
        bench.live(expires_at=bench.clock.now + EXPIRY_WARNING)
    tick_for(bench, 1)
    bench.registry.on_ended = lambda _: bench.clock.advance(SLICE / 4)
    bench.clock.advance(EXPIRY_WARNING)
    longest = slices = 0.0
    more = True
    while more:
        begun = bench.clock.now
        more = bench.registry.tick()
        longest = max(longest, bench.clock.now - begun)
        slices += 1
    assert bench.stats.streams_closed == {"expired": 40}
    assert slices >= 10
    assert longest < 2 * SLICE


def test_a_stream_that_ends_before_its_turn_gets_no_keepalive(bench: Bench) -> None:
    (first, _), *_, (second, peer) = [bench.live() for _ in range(SLOTS + 1)]  # both in one slot

    def send(data: bytes) -> int:
        bench.clock.advance(SLICE)
        return len(data)

    first.send = send
    bench.clock.advance(15)
    assert bench.registry.tick()
    second.close(CloseReason.CLIENT_GONE)
    assert not bench.registry.tick()
    assert bench.stats.keepalives_sent == SLOTS
    assert received(peer) == b""


def test_tells_of_a_gap_in_positions(bench: Bench) -> None:
    block = parse_block(bench.registry.tell_gap(3, 7).body.decode().strip("\n"))
    assert (block.event, block.id) == ("stream-gap", None)
    assert block.json() == {"from": "e-2", "to": "e-7", "reason": "slow"}


def test_abandons_everything_at_once(bench: Bench) -> None:
    bench.live()
    lingering, peer = bench.backlogged()
    lingering.close(CloseReason.REPLACED)
    bench.backlogged()
    bench.registry.abandon_all()
    assert len(bench.registry.farewells) == 0
    assert bench.registry.buffered == {}
    assert bench.stats.streams_closed == {"draining": 2, "replaced": 1}
    assert bench.stats.outbox_bytes == 0
    received(peer)
    assert ended(peer)
    bench.registry.abandon_all()

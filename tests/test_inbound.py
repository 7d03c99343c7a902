"""What a broker hands to its node, in order, on real streams."""

import json
from collections.abc import Callable, Iterator

import pytest

from client_support import parse_block
from server_support import Clock
from stream_support import Bench, bench_with, ended, received
from tornado_sse.brokers.base import Disconnect, Refresh
from tornado_sse.census import Census
from tornado_sse.event import Frame
from tornado_sse.inbound import Inbound
from tornado_sse.notices import CloseReason
from tornado_sse.steps import SLICE
from tornado_sse.stream import Stream


class Node:
    """A bench whose fan-out takes its turns when told to."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.turns: list[Callable[[], None]] = []
        bench.registry.fanout._schedule = self.turns.append
        self.census = Census("here", lambda _: 0, bench.clock)
        self.inbound = Inbound(bench.registry, self.census)

    def deliver(self, *texts: str) -> None:
        self.inbound.deliver([self.bench.message(text) for text in texts])

    def turn(self) -> None:
        while self.turns:
            self.turns.pop(0)()


def events(wire: bytes) -> list[tuple[str, str]]:
    """Each event's name or data, and its id."""
    blocks = [parse_block(block).fields for block in wire.decode().split("\n\n") if block]
    return [(block.get("event", block.get("data", "")), block.get("id", "")) for block in blocks]


@pytest.fixture
def node(clock: Clock) -> Iterator[Node]:
    with bench_with(clock) as bench:
        yield Node(bench)


def test_messages_and_commands_are_carried_out_in_order(node: Node) -> None:
    _, peer = node.bench.live()
    _, other = node.bench.live(user="v")
    node.deliver("one")
    node.inbound.obey(Disconnect("u", "s"))
    node.inbound.obey(Disconnect("v", revoked=True))
    node.turn()
    assert [name for name, _ in events(received(peer))] == ["one", "stream-closing"]
    assert [name for name, _ in events(received(other))] == ["one", "stream-closing"]
    assert node.bench.registry.sessions.is_disconnected("u", "s")


def test_a_refresh_lengthens_the_streams_that_it_names(node: Node) -> None:
    stream, _ = node.bench.live(channels=("news",))
    other, _ = node.bench.live(session="other")
    end = stream.expires_at
    node.inbound.obey(Refresh("u", "s", ("sports",), end + 50))
    assert stream.expires_at == end
    node.inbound.obey(Refresh("u", "s", ("news",), end + 60))
    node.inbound.obey(Refresh("u", "s", ("news",), end + 10))
    assert (stream.expires_at, other.expires_at) == (end + 60, end)


def test_a_hole_is_told_between_what_was_before_and_what_comes_after(node: Node) -> None:
    _, peer = node.bench.live()
    node.deliver("one", "two")
    node.inbound.lost(3, 5)
    node.bench.sequence = 5
    node.deliver("six")
    node.inbound.reached(7)
    node.inbound.obey(Disconnect("u", "s"))
    node.turn()
    wire = received(peer)
    assert events(wire) == [
        ("one", "e-1"),
        ("two", "e-2"),
        ("stream-gap", "e-2"),
        ("six", "e-6"),
        ("stream-closing", ""),
    ]
    (data,) = [line for line in wire.decode().split("\n") if '"from"' in line]
    assert json.loads(data.removeprefix("data: ")) == {"from": "e-2", "to": "e-5", "reason": "evicted"}
    assert node.bench.stats.gaps == {"evicted": 1}
    assert node.bench.registry.completed() == 7


def test_several_holes_and_renewals_keep_their_order(node: Node) -> None:
    _, peer = node.bench.live()
    node.deliver("one")
    node.inbound.lost(2, 2)
    node.inbound.renew("f", 3)
    node.inbound.lost(4, 4)
    node.turn()
    assert events(received(peer)) == [
        ("one", "e-1"),
        ("stream-gap", "e-1"),
        ("stream-gap", "f-3"),
        ("stream-gap", "f-3"),
    ]
    assert node.bench.registry.epoch == "f"


def test_reaching_a_sequence_lets_a_quiet_stream_go_live(node: Node) -> None:
    stream, peer = node.bench.held()
    stream.start([b"past"], 9)
    waits = [stream.outbox is not None]
    node.inbound.reached(9)
    node.inbound.reached(8)
    stream.check_age()
    waits.append(stream.outbox is not None)
    assert waits == [True, False]
    assert received(peer) == b"past"


def test_a_stream_ahead_of_the_node_keeps_its_position_when_a_hole_is_told(node: Node) -> None:
    stream, peer = node.bench.held()
    stream.start([], 9)
    node.inbound.lost(10, 11)
    assert events(received(peer)) == [("stream-gap", "e-9")]


def test_who_waits_for_its_past_is_sent_to_ask_again(node: Node) -> None:
    stream, peer = node.bench.held()
    node.inbound.lost(1, 2)
    stream.start([b"past"], 9)
    assert stream.is_ended
    assert [name for name, _ in events(received(peer))] == ["stream-closing"]


def test_who_ended_meanwhile_is_not_told(node: Node) -> None:
    _, peer = node.bench.live()
    node.deliver("one")
    node.inbound.obey(Disconnect("u", "s"))
    node.inbound.lost(2, 2)
    node.turn()
    assert [name for name, _ in events(received(peer))] == ["one", "stream-closing"]
    assert ended(peer)
    assert not node.bench.stats.gaps


def test_after_lost_history_a_backlogged_stream_takes_new_and_lower_sequences(node: Node) -> None:
    stream, peer = node.bench.held()
    stream.start([], 900)
    node.inbound.renew("f", 3)
    node.bench.sequence = 3
    node.deliver("four")
    node.turn()
    assert [name for name, _ in events(received(peer))] == ["stream-gap", "four"]
    assert node.bench.registry.completed() == 4


def slowly(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three notices take a slice."""
    notice = Stream.notice

    def take_time(stream: Stream, frame: Frame) -> None:
        notice(stream, frame)
        node.bench.clock.advance(SLICE / 2.5)

    monkeypatch.setattr(Stream, "notice", take_time)


def test_others_have_their_turn_while_many_are_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(node, monkeypatch)
    peers = [node.bench.live()[1] for _ in range(8)]
    node.inbound.renew("f", 3)
    assert node.bench.registry.epoch == "f"
    assert node.bench.stats.gaps["epoch"] == 3
    node.bench.sequence = 3
    node.deliver("four")
    node.turn()
    for peer in peers:
        assert [name for name, _ in events(received(peer))] == ["stream-gap", "four"]


def test_who_ends_while_many_are_told_is_told_no_more(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(node, monkeypatch)
    streams = [node.bench.live()[0] for _ in range(4)]
    node.inbound.lost(1, 2)
    streams[3].close(CloseReason.LIMIT)
    node.turn()
    assert node.bench.stats.gaps == {"evicted": 3}


def test_who_waits_for_its_past_while_many_are_told_gets_none(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(node, monkeypatch)
    for _ in range(4):
        node.bench.live()
    (begins, early), (waits, late) = node.bench.held(), node.bench.held()
    node.inbound.lost(1, 2)
    begins.start([b"past"], 9)
    node.turn()
    assert (begins.is_ended, waits.is_ended) == (True, True)
    assert [[name for name, _ in events(received(peer))] for peer in (early, late)] == [["stream-closing"]] * 2


def test_who_came_after_a_hole_is_not_told(node: Node) -> None:
    node.bench.live()
    node.deliver("one")
    node.inbound.lost(2, 2)
    _, peer = node.bench.live(session="late")
    node.turn()
    assert "stream-gap" not in received(peer).decode()


def test_a_stream_that_another_node_replaced_ends(node: Node) -> None:
    _, oldest = node.bench.live()
    _, newer = node.bench.live(session="t")
    node.inbound.hear(
        b'{"node":"there","number":1,"whole":true,"counts":{"u":1},"replaced":[["here","u"],["here","v"]]}'
    )
    assert ['"replaced"' in received(peer).decode() for peer in (oldest, newer)] == [True, False]
    assert node.census.elsewhere("u") == 1


def test_what_no_node_can_have_told_is_counted(node: Node) -> None:
    node.inbound.hear(b"nonsense")
    assert node.bench.stats.messages_malformed == 1

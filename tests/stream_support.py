"""Streams over socket pairs, driven by hand: the other ends are the test's."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from client_support import parse_block
from server_support import Clock
from tornado_sse.event import Encoding
from tornado_sse.message import Draft, Message, number
from tornado_sse.outbox import Bounds, SlowPolicy
from tornado_sse.position import Position
from tornado_sse.registry import Registry, Timing
from tornado_sse.stats import Stats
from tornado_sse.stream import Preamble, Stream
from tornado_sse.topic import ALL

SMALL = 4096
SILENT: Preamble = (b"", None)
"""Of a stream that says nothing first, and whose client came with no position."""
BOUNDS = Bounds(60 * SMALL, 10.0, SlowPolicy.DISCONNECT)


class Bench:
    """A registry whose streams end in sockets that the test holds."""

    def __init__(self, clock: Clock, bounds: Bounds) -> None:
        self.clock = clock
        self.registry = Registry(bounds, Timing(15, 2, 60), clock.clocks, Stats(), lambda callback: callback())
        self.registry.epoch = "e"
        self.stats = self.registry.stats
        self.sequence = 0
        self.peers: list[socket.socket] = []

    def held(
        self, encoding: Encoding = Encoding.BARE, preamble: Preamble = SILENT, **options: Any
    ) -> tuple[Stream, socket.socket]:
        connection, peer = socket.socketpair()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        connection.setblocking(False)
        peer.setblocking(False)
        self.peers.append(peer)
        every: dict[str, Any] = {
            "user": "u",
            "session": "s",
            "channels": (),
            "labelled": False,
            "address": "a",
            "expires_at": 2e9,
        } | options
        stream = self.registry.open(connection, preamble, encoding=encoding, **every)
        return stream, peer

    def live(self, encoding: Encoding = Encoding.BARE, **options: Any) -> tuple[Stream, socket.socket]:
        stream, peer = self.held(encoding, **options)
        stream.start([], 0)
        assert stream.outbox is None
        return stream, peer

    def message(self, data: str, key: str | None = None) -> Message:
        self.sequence += 1
        return number(Draft((ALL,), data, key=key), Position("e", self.sequence), self.clock())

    def publish(self, *texts: str, key: str | None = None) -> None:
        self.registry.fanout.deliver([self.message(text, key) for text in texts])

    def backlogged(self) -> tuple[Stream, socket.socket]:
        """A live stream whose socket is full of one message, of which a part is still here."""
        stream, peer = self.live()
        self.publish("x" * 20 * SMALL)
        assert stream.outbox is not None
        return stream, peer


@contextmanager
def bench_with(clock: Clock, bounds: Bounds = BOUNDS) -> Iterator[Bench]:
    bench = Bench(clock, bounds)
    try:
        yield bench
    finally:
        bench.registry.abandon_all()
        bench.registry.poller.close()
        for peer in bench.peers:
            peer.close()


def received(peer: socket.socket) -> bytes:
    """What the peer has in its buffer; of a closed connection up to its end."""
    data = b""
    try:
        while more := peer.recv(1 << 20):
            data += more
    except BlockingIOError:
        pass
    return data


def drained(stream: Stream, peer: socket.socket) -> str:
    """What arrives while the peer reads and the stream goes on, until nothing is left."""
    data = received(peer)
    for _ in range(1000):
        stream.writable()
        more = received(peer)
        data += more
        if not more:
            break
    return data.decode()


def texts(wire: str) -> list[str]:
    return [parse_block(block).fields.get("data", "") for block in wire.split("\n\n") if block]


def ended(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


def break_socket(stream: Stream, error: OSError) -> None:
    def send(_: bytes) -> int:
        raise error

    stream.send = send

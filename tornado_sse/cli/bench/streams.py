"""One stream's socket: connects, asks, and hands what arrives to its receiver."""

import socket
import ssl
from collections.abc import Callable
from time import monotonic_ns
from typing import Protocol

from tornado_sse.cli.bench import marker, wire
from tornado_sse.cli.bench.sockets import READ, READ_BYTES, WRITE, Endpoint, Loop
from tornado_sse.cli.bench.tally import Tally


class Owner(Protocol):
    """What a stream tells of itself."""

    loop: Loop
    tally: Tally
    endpoint: Endpoint
    context: ssl.SSLContext | None

    def opened(self, stream: "Stream") -> None:
        """Its head is there."""

    def failed(self, why: str) -> None:
        """It did not open."""


class Stream:
    """One stream; `index` is among all of the run."""

    __slots__ = ("_body", "_data", "_is_open", "_owner", "_receiver", "_request", "_socket", "index")

    def __init__(self, owner: Owner, index: int, request: bytes, begin: bytes) -> None:
        self.index = index
        self._owner = owner
        self._request = request
        self._receiver = marker.Receiver(begin, owner.tally)
        self._data = b""
        self._body = wire.Body(chunked=False)
        self._is_open = False
        self._socket = socket.socket(owner.endpoint.family, socket.SOCK_STREAM)
        self._socket.settimeout(0)

    def start(self) -> None:
        """Begin to connect."""
        endpoint = self._owner.endpoint
        try:
            if source := endpoint.source(self.index):
                self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
                self._socket.bind((source, 0))
            self._socket.connect(endpoint.address)
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(_words(error))
            return
        self._watch(WRITE, self._connected)

    def close(self) -> None:
        """Close it, whatever it was doing."""
        self._owner.loop.forget(self._socket.fileno())
        self._socket.close()

    def _watch(self, events: int, handler: Callable[[], None]) -> None:
        self._owner.loop.watch(self._socket.fileno(), events, handler)

    def _connected(self) -> None:
        context, endpoint = self._owner.context, self._owner.endpoint
        if context is None:
            self._ask()
            return
        self._owner.loop.forget(self._socket.fileno())  # wrapping takes the descriptor over, or closes it
        try:
            self._socket = context.wrap_socket(
                self._socket, do_handshake_on_connect=False, server_hostname=endpoint.tls_name
            )
        except OSError as error:
            self._end(_words(error))
            return
        self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self._socket.do_handshake()  # type: ignore[attr-defined]  # it is wrapped
        except ssl.SSLWantReadError:
            self._watch(READ, self._shake_hands)
        except OSError as error:
            self._end(_words(error))
        else:
            self._ask()

    def _ask(self) -> None:
        try:
            self._socket.sendall(self._request)
        except OSError as error:
            self._end(_words(error))
            return
        self._request = b""
        self._watch(READ, self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            self._end(_words(error))
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        now = monotonic_ns()
        try:
            if not data:
                self._end("the connection was closed without an answer")
            elif self._is_open:
                self._receive(data, now)
            else:
                self._read_head(data, now)
        except wire.BadAnswer as bad:
            self._end(str(bad))

    def _read_head(self, data: bytes, now: int) -> None:
        self._data += data
        found = wire.split_head(self._data)
        if found is None:
            return
        head, rest = found
        if head.status != 200:  # noqa: PLR2004 - OK
            self._end(head.explain(rest))
        elif not head.is_event_stream:
            self._end("the answer is no event stream")
        else:
            self._data = b""
            self._is_open = True
            self._body = wire.Body(chunked=head.chunked, length=head.length)
            self._owner.opened(self)
            self._receive(rest, now)

    def _receive(self, data: bytes, now: int) -> None:
        self._receiver.feed(self._body.feed(data), now)
        if self._body.ended:
            self._end("")

    def _end(self, why: str) -> None:
        self.close()
        if self._is_open:
            self._owner.tally.closed += 1
        else:
            self._owner.failed(why)


def _words(error: OSError) -> str:
    return error.strerror or str(error)

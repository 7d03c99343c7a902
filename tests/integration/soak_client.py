"""A subscriber that comes and goes, on a socket of its own: cheap enough for thousands in a process."""

import socket
from collections.abc import Callable
from contextlib import suppress

from chaos_client import Subscriber
from tornado_sse.cli.bench.sockets import READ, READ_BYTES, WRITE, Loop


class SoakClient:
    """A client that goes to a port of loopback, from an address of its own. `over` is told when it is to come back."""

    def __init__(
        self, subscriber: Subscriber, loop: Loop, way: tuple[int, str], over: Callable[[float | None], None]
    ) -> None:
        self.subscriber = subscriber
        self._loop = loop
        self._port, self._source = way
        self._over = over
        self._socket: socket.socket | None = None
        self._may_leave = False

    def come(self) -> None:
        """Connect."""
        self._socket = connection = _dialled(self._port, self._source)
        self._loop.watch(connection.fileno(), WRITE, self._ask)

    def leave(self) -> bool:
        """Hang up, but read what is still on its way. Return whether there was a stream to leave."""
        if self._socket is None or not self._may_leave or not self.subscriber.is_open:
            return False
        self._may_leave = False
        with suppress(OSError):  # the server was quicker
            self._socket.shutdown(socket.SHUT_WR)
        return True

    def close(self) -> None:
        """Close the socket, if it has one."""
        if self._socket:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _ask(self) -> None:
        assert self._socket
        self._may_leave = True
        try:
            self._socket.sendall(self.subscriber.request())
        except OSError as error:
            self._end(type(error).__name__)
        else:
            self._loop.watch(self._socket.fileno(), READ, self._readable)

    def _readable(self) -> None:
        assert self._socket
        try:
            data = self._socket.recv(READ_BYTES)
        except OSError as error:
            self._end(type(error).__name__)
        else:
            if why := self.subscriber.feed(data):
                self._end(why)

    def _end(self, why: str) -> None:
        self.close()
        self._over(self.subscriber.ended(why))


def _dialled(port: int, source: str) -> socket.socket:
    """Begin to connect from an address of loopback, without waiting: one address has some 28,000 ports."""
    connection = socket.socket()
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
    connection.bind((source, 0))
    with suppress(BlockingIOError):
        connection.connect(("127.0.0.1", port))
    return connection

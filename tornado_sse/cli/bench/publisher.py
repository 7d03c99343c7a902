"""The publishing side: one connection, requests one behind the other, so that messages keep their order."""

import socket
import ssl

from tornado_sse.cli.bench import wire
from tornado_sse.cli.bench.sockets import READ, READ_BYTES, WRITE, Endpoint, Loop

PIPELINE = 64
"""Requests on their way at most."""

ROTATE = 500
"""Requests on one connection: proxies close one after about a thousand."""

CONNECT_TIMEOUT = 10


class Stopped(Exception):
    """The run can't go on; the text says why."""


class Publisher:
    """Sends requests and reads their answers; raises Stopped when one is refused or the server is gone."""

    def __init__(self, loop: Loop, endpoint: Endpoint) -> None:
        self._loop = loop
        self._endpoint = endpoint
        self._context = None if endpoint.tls_name is None else ssl.create_default_context()
        self._socket: socket.socket | None = None
        self._answers = wire.Answers()
        self._out = b""
        self._sent = 0
        self.in_flight = 0

    @property
    def is_ready(self) -> bool:
        """Whether it takes another request now."""
        return self.in_flight == 0 or (self._sent < ROTATE and self.in_flight < PIPELINE)

    def send(self, request: bytes) -> None:
        """Send a request. Raises Stopped."""
        if self._sent >= ROTATE:
            self.close()
        connection = self._socket or self._connect()
        self._sent += 1
        self.in_flight += 1
        self._out += request
        if len(self._out) == len(request):
            self._write(connection)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        try:
            made = socket.create_connection(self._endpoint.address, CONNECT_TIMEOUT)
            if self._context is not None:
                made = self._context.wrap_socket(made, server_hostname=self._endpoint.tls_name)
        except OSError as error:
            raise Stopped(f"publishing: {error.strerror or error}") from error
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(0)
        self._socket, self._answers, self._out, self._sent = made, wire.Answers(), b"", 0
        self._loop.watch(made.fileno(), READ, self._ready)
        return made

    def _ready(self) -> None:
        assert self._socket  # noqa: S101 - it is watched; tells the type checker
        if self._out:
            self._write(self._socket)
        self._read(self._socket)

    def _write(self, connection: socket.socket) -> None:
        try:
            self._out = self._out[connection.send(self._out) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            raise Stopped(f"the publishing connection broke: {error.strerror or error}") from error
        self._loop.watch(connection.fileno(), READ | WRITE if self._out else READ, self._ready)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            raise Stopped(f"the publishing connection broke: {error.strerror or error}") from error
        if data:
            self._take(data)
            return
        self.close()
        if self.in_flight:
            raise Stopped("the server closed the publishing connection")

    def _take(self, data: bytes) -> None:
        try:
            for head, body in self._answers.feed(data):
                self.in_flight -= 1
                if head.status // 100 != 2:  # noqa: PLR2004 - success
                    raise Stopped(f"publishing was refused: {head.explain(body)}")
                if b'"error"' in body:
                    raise Stopped(f"a message was refused: {body.decode(errors='replace')[:200]}")
        except wire.BadAnswer as bad:
            raise Stopped(f"publishing: {bad}") from bad

"""A client's connection, as long as it speaks plain HTTP/1.1: one turn of the loop reads a request, one answers it.

Tornado's own connection takes several turns and several times the work. It is left what is not plain, and then the rest
of the connection; nothing is taken from the socket before that is known.
"""

import asyncio
import socket
from asyncio import Future
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError
from tornado.log import app_log
from tornado.web import Application

from tornado_sse.plain import PlainRequest, read_plain
from tornado_sse.poller import Poller
from tornado_sse.request import lean_request

PEEK = 16384
"""Bytes that are looked at to find a request's head."""

Address = tuple[str, int]

_WITHOUT_BODY = frozenset({204, 304})
_scratch = bytearray(65536)


class Door(Protocol):
    """Where connections come in, and which are open. `body_bytes` is the longest body read here."""

    application: Application
    connections: "set[Connection]"
    poller: Poller
    body_bytes: int

    def expect(self, connection: "Connection") -> None:
        """Cut the connection if the client keeps us waiting for too long from now on."""

    def forget(self, connection: "Connection") -> None:
        """Wait for the client no longer."""

    def pass_on(self, connection: socket.socket, address: Address) -> None:
        """Let Tornado serve a connection whose next request is not plain."""


class Context:
    """What Tornado wants to know of a request's connection."""

    protocol = "http"

    def __init__(self, address: Address) -> None:
        self.address = address
        self.remote_ip = address[0]


class Connection(HTTPConnection):
    """One accepted connection: waits for a request, has the application answer it, and waits for the next.

    `closed`: whether it is closed, or was given away.
    """

    def __init__(self, connection: socket.socket, address: Address, door: Door) -> None:
        connection.settimeout(0)
        self.context = Context(address)
        self._socket = connection
        self._door = door
        self._request: PlainRequest | None = None
        self._body: list[bytes] = []
        self._missing = 0
        self._answered = False
        self._keep_alive = True
        self._deaf = False
        self.closed = False
        self._output = b""
        self._full = False
        self._written: Future[None] = _done()
        self._on_close: Callable[[], None] | None = None
        self._attended = False
        door.connections.add(self)
        door.expect(self)

    def begin(self) -> None:
        """Read what came along with the connection. It is watched only from the next turn on.

        By then it is a stream's more often than not, and to have the kernel watch it would have been in vain.
        """
        self.readable()
        asyncio.get_running_loop().call_soon(self._attend)

    def readable(self) -> None:
        """Read of a request what is there, or find out that the client is gone."""
        try:
            if self._request is None:
                self._read_head()
            elif self._missing:
                self._read_body(self._request)
            elif self._deaf:  # then only a hang-up is told
                self.close()
            else:  # whatever it is can wait until the request is answered
                self._watch(deaf=True)
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def writable(self) -> None:
        """Go on with an answer that the socket did not take at once."""
        self._write(b"")
        if not self._output:
            self._go_on()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called if the client hangs up before it is answered; None: nothing is called."""
        self._on_close = callback

    def set_max_body_size(self, max_body_size: int) -> None:
        """Do nothing: the body is here already, and within the door's bound."""

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> "Future[None]":
        """Begin the answer. Without a length it lasts until the connection ends; with a Connection it is the last."""
        if "Connection" in headers or ("Content-Length" not in headers and start_line[1] not in _WITHOUT_BODY):
            self._keep_alive = False
        if not self._keep_alive:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {start_line[1]} {start_line[2]}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        return self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (chunk or b""))

    def write(self, chunk: bytes) -> "Future[None]":
        """Go on with the answer. The future is done when the socket took it all; it fails when that will never be."""
        self._write(chunk)
        if self._output and self._written.done():
            self._written = Future()
        return self._written

    def finish(self) -> None:
        """End the answer."""
        self._answered = True
        self._go_on()

    def detach(self) -> socket.socket:
        """Give the socket away: it is no longer HTTP's."""
        if not self.closed:
            self._leave()
        self._on_close = None
        return self._socket

    def cut(self) -> None:
        """Close the connection: the client kept us waiting for too long."""
        self.close()

    def close(self) -> None:
        """Close the connection, whatever still waits. Doing so again does nothing."""
        if self.closed:
            return
        self._leave()
        with suppress(OSError):  # bytes left unread would turn the close into a reset, which overtakes the answer
            self._socket.recv_into(_scratch)
        self._socket.close()
        self._output = b""
        self._written = _failed(self._written)
        if self._on_close and not self._answered:
            self._on_close()

    def _read_head(self) -> None:
        data = self._socket.recv(PEEK, socket.MSG_PEEK)
        if not data:
            self.close()
            return
        request = read_plain(data)
        if request is None or request.body_size > self._door.body_bytes:
            self._door.pass_on(self.detach(), self.context.address)
            return
        whole = request.size + request.body_size
        taken = self._socket.recv(whole)
        self._request = request
        self._body = [taken[request.size :]]
        self._missing = whole - len(taken)
        if self._missing:
            self._door.expect(self)
        else:
            self._serve(request)

    def _read_body(self, request: PlainRequest) -> None:
        data = self._socket.recv(self._missing)
        if not data:
            self.close()
            return
        self._body.append(data)
        self._missing -= len(data)
        if not self._missing:
            self._serve(request)

    def _serve(self, request: PlainRequest) -> None:
        self._door.forget(self)
        self._answered = False
        self._keep_alive = request.keep_alive
        body, self._body = b"".join(self._body), []
        try:
            delegate = self._delegate(request)
            delegate.headers_received(request.start_line, request.headers)
            if not self._answered:  # what streams its body has it before it is prepared: waiting costs turns
                if body:
                    delegate.data_received(body)
                delegate.finish()
        except Exception:  # noqa: BLE001 - told as Tornado tells it; the other connections go on
            app_log.error("Uncaught exception", exc_info=True)
            self.close()

    def _delegate(self, request: PlainRequest) -> HTTPMessageDelegate:
        application = self._door.application
        lean = lean_request(request.start_line, request.headers, self, self._door)
        return application.find_handler(lean) if lean else application.start_request(self._door, self)

    def _write(self, data: bytes) -> None:
        if self.closed:
            return
        output = self._output + data
        try:
            sent = self._socket.send(output)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self._output = output[sent:]
        turned = bool(self._output) is not self._full
        if self._output or self._answered:
            if sent or turned:
                self._door.expect(self)
        else:
            self._door.forget(self)
        if turned:
            self._full = not self._full
            self._watch(deaf=self._deaf)
            if not self._full:
                self._settle()

    def _settle(self) -> None:
        if self._written.done():  # who waited was cancelled, and it with them
            self._written = _done()
        else:
            self._written.set_result(None)

    def _go_on(self) -> None:
        if self.closed or not self._answered:
            return
        self._door.expect(self)
        if self._output:
            return
        if not self._keep_alive:
            self.close()
            return
        self._request = None
        if self._deaf:
            self._watch(deaf=False)

    def _attend(self) -> None:
        if not self.closed:
            self._attended = True
            self._door.poller.add(self._socket.fileno(), self)
            if self._deaf or self._full:
                self._watch(deaf=self._deaf)

    def _watch(self, *, deaf: bool) -> None:
        self._deaf = deaf
        if self._attended:
            self._door.poller.watch(self._socket.fileno(), reading=not deaf, writing=self._full)

    def _leave(self) -> None:
        self.closed = True
        self._door.connections.discard(self)
        if self._attended:
            self._door.poller.remove(self._socket.fileno())
        self._door.forget(self)


def _done() -> "Future[None]":
    future: Future[None] = Future()
    future.set_result(None)
    return future


def _failed(future: "Future[None]") -> "Future[None]":
    failed = Future() if future.done() else future
    failed.set_exception(StreamClosedError())
    failed.exception()  # nobody has to look
    return failed

"""Accepting connections, also when descriptors run out: then it backs off, where Tornado's own way would spin."""

import errno
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import inf

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.web import Application

from tornado_sse.connection import Address, Connection
from tornado_sse.iostream import BoundedStream
from tornado_sse.log import logger
from tornado_sse.poller import Poller
from tornado_sse.slices import in_slices
from tornado_sse.stats import Stats
from tornado_sse.steps import STEP
from tornado_sse.ticker import Ticker

BACKLOG = 4096
"""Connections that the kernel may hold for us; it has a bound of its own, somaxconn."""

BATCH = 16
"""Connections accepted in one turn of the loop."""

BACK_OFF = 0.25
"""Seconds without accepting after descriptors ran out."""

LOG_EVERY = 1.0
"""Seconds between two log lines of that."""

SLOW = 9.0
"""Seconds that a client has for the headers of a request, again for its body, and to go on reading an answer."""

CUT_EVERY = 0.5
"""Seconds between two looks for clients that let us wait; so nobody has more than ten."""

MAX_HEADER = 65536
"""Bytes of a request's head; beyond it there is no answer. Such a one takes some milliseconds to read, in one go."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def url_of(host: str, port: int) -> str:
    """Write an address as a URL: one of IPv6 stands in brackets (RFC 3986 section 3.2.2)."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Listener:
    """Serves an application at an address. Port 0 takes a free one; `port` tells which.

    `sockets` that listen already stand in for the address. `body_bytes` bounds bodies that no handler bounds by itself.
    `stats` counts failures to accept; None: nobody does. Raises OSError if the address can't be had.
    """

    def __init__(  # noqa: PLR0913 - an address, and three things that differ between listeners and tests
        self,
        application: Application,
        host: str,
        port: int,
        *,
        body_bytes: int = 65536,
        reuse_port: bool = False,
        stats: Stats | None = None,
        sockets: Sequence[socket.socket] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.application = application
        self.body_bytes = body_bytes
        self.poller = Poller()
        self.connections: set[Connection] = set()
        self._expected: dict[Connection | BoundedStream, float] = {}
        self._cutting = Ticker(self._cut, CUT_EVERY)
        self._sockets = list(sockets) or bind_sockets(port, host, backlog=BACKLOG, reuse_port=reuse_port)
        self._http = HTTPServer(
            application,
            idle_connection_timeout=SLOW,
            body_timeout=SLOW,
            max_header_size=MAX_HEADER,
            max_body_size=body_bytes,
        )
        self._stats = stats or Stats()
        self._clock = clock
        self._logged = -LOG_EVERY
        self._paused: dict[socket.socket, object] = {}
        self.host: str = sockets[0].getsockname()[0] if sockets else host
        self.port: int = self._sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Where it listens."""
        return url_of(self.host, self.port)

    def start(self) -> None:
        """Accept connections on the current IOLoop."""
        self.poller.start()
        self._cutting.start()
        for listening in self._sockets:
            self._resume(listening)

    def refuse(self) -> None:
        """Accept no more connections. Doing so again does nothing."""
        for listening in self._sockets:
            if listening in self._paused:
                IOLoop.current().remove_timeout(self._paused.pop(listening))
            else:
                IOLoop.current().remove_handler(listening)
            listening.close()
        self._sockets = []

    async def close(self) -> None:
        """Accept no more, and close the connections that are still HTTP's."""
        self.refuse()
        self._cutting.stop()
        for connection in list(self.connections):
            connection.close()
        self.poller.close()
        await self._http.close_all_connections()

    def expect(self, connection: Connection | BoundedStream) -> None:
        """Cut the connection if the client keeps us waiting for too long from now on."""
        self._expected.pop(connection, None)
        self._expected[connection] = self._clock() + SLOW

    def forget(self, connection: Connection | BoundedStream) -> None:
        """Wait for the client no longer."""
        self._expected.pop(connection, None)

    def pass_on(self, connection: socket.socket, address: Address) -> None:
        """Let Tornado serve a connection whose next request is not plain."""
        self._http.handle_stream(BoundedStream(connection, self), address)

    async def _cut(self) -> None:
        await in_slices(self._cutting_late(), self._clock)

    def _cutting_late(self) -> Iterator[None]:
        now = self._clock()
        while late := [one for one, due in islice(self._expected.items(), STEP) if due <= now]:
            for connection in late:
                if self._expected.get(connection, inf) <= now:  # it may have been heard of meanwhile
                    self.forget(connection)
                    connection.cut()
                yield

    def _resume(self, listening: socket.socket) -> None:
        self._paused.pop(listening, None)
        IOLoop.current().add_handler(listening, self._accept, IOLoop.READ)

    def _accept(self, listening: socket.socket, _events: int) -> None:
        for _ in range(BATCH):
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._back_off(listening, error)
                return
            Connection(connection, address, self).begin()

    def _back_off(self, listening: socket.socket, error: OSError) -> None:
        self._stats.accept_failures += 1
        loop = IOLoop.current()
        loop.remove_handler(listening)
        self._paused[listening] = loop.call_later(BACK_OFF, self._resume, listening)
        if self._clock() - self._logged >= LOG_EVERY:
            self._logged = self._clock()
            logger().error("not accepting connections", problem=error.strerror, again_in=BACK_OFF)

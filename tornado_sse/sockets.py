"""Sockets: how one leaves Tornado's hands, and what is set on it."""

import socket
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from tornado.httputil import format_timestamp
from tornado.iostream import IOStream, SSLIOStream
from tornado.web import RequestHandler

from tornado_sse.connection import Connection

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

MILLISECONDS = 1000


def take_over(handler: RequestHandler, user_timeout: float) -> socket.socket:
    """Take the socket of a handler's connection; the handler is detached.

    Tornado's own connection wants to close its descriptor, so the socket lives on in a duplicate of that.
    `user_timeout` in seconds is how long sent bytes may go unacknowledged before the kernel gives the peer up
    (RFC 5482); 0: as long as it would by itself. Raises OSError if no descriptor is left.
    """
    is_tcp = True
    if isinstance(handler.request.connection, Connection):
        connection: socket.socket = handler.detach()  # type: ignore[assignment]  # it is what our detach returns
    else:
        connection = _tornados(handler).socket.dup()
        handler.detach().close()
        is_tcp = connection.family != socket.AF_UNIX
    handler.ui.clear()  # it refers to the handler, and would leave it to the garbage collector
    if is_tcp:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(user_timeout * MILLISECONDS))
    return connection


def is_closed(handler: RequestHandler) -> bool:
    """Whether the handler's connection is closed already."""
    connection = handler.request.connection
    return connection.closed if isinstance(connection, Connection) else _tornados(handler).closed()


def is_encrypted(handler: RequestHandler) -> bool:
    """Whether TLS ends in this process, so that the bare socket is of no use."""
    return not isinstance(handler.request.connection, Connection) and isinstance(_tornados(handler), SSLIOStream)


def _tornados(handler: RequestHandler) -> IOStream:
    return cast("HTTP1Connection", handler.request.connection).stream


def http_date(now: float) -> str:
    """Format unix time as HTTP wants it (RFC 9110 section 5.6.7)."""
    return _http_date(int(now))


@lru_cache(maxsize=1)
def _http_date(second: int) -> str:
    return format_timestamp(second)

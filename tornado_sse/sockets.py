"""Sockets: how one leaves Tornado's hands, and what is set on it."""

import socket
from functools import lru_cache

from tornado.httputil import format_timestamp
from tornado.iostream import IOStream

MILLISECONDS = 1000


def duplicate(stream: IOStream, user_timeout: float) -> socket.socket:
    """Duplicate the descriptor of an open connection, so that it lives on when Tornado closes its own.

    `user_timeout` in seconds is how long sent bytes may go unacknowledged before the kernel gives the peer up
    (RFC 5482); 0: as long as it would by itself. Raises OSError if no descriptor is left.
    """
    connection: socket.socket = stream.socket.dup()
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(user_timeout * MILLISECONDS))
    return connection


def http_date(now: float) -> str:
    """Format unix time as HTTP wants it (RFC 9110 section 5.6.7)."""
    return _http_date(int(now))


@lru_cache(maxsize=1)
def _http_date(second: int) -> str:
    return format_timestamp(second)

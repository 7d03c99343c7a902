"""A port that several processes of ours are to share, and nobody else."""

import socket
from contextlib import ExitStack

from tornado.netutil import bind_sockets


class SharedPort:
    """Holds a port without listening on it, so that it stays ours while no worker does. Port 0 takes a free one.

    Raises OSError if it can't be had; `shared` lets other processes of this user have it at the same time.
    """

    def __init__(self, host: str, port: int, *, shared: bool) -> None:
        self._held = ExitStack()
        listening = bind_sockets(port, host, backlog=1, reuse_port=shared)
        addresses = [(one.family, one.getsockname()) for one in listening]
        for one in listening:
            one.close()
        for family, address in addresses:
            self._hold(family, address)
        self.port: int = addresses[0][1][1]

    def _hold(self, family: int, address: tuple[object, ...]) -> None:
        held = self._held.enter_context(socket.socket(family))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        held.bind(address)

    def close(self) -> None:
        """Let go of it."""
        self._held.close()

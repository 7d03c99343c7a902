"""What all sockets of a run share: the address of the server, and an event loop."""

import select
import socket
from collections.abc import Callable
from ipaddress import ip_address

import msgspec

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
MOST = 1024

READ_BYTES = 65536
"""Above a TLS record's size, so that none is left half read where epoll does not see it."""

PORTS = 20_000
"""Connections that one source address opens to one server; the kernel has some 28,000 ports to give."""


class Endpoint(msgspec.Struct, frozen=True):
    """A server's address as `socket.connect` takes it; `tls_name` None: without TLS."""

    family: int
    address: tuple[str, int]
    tls_name: str | None = None

    def source(self, index: int) -> str | None:
        """Return the address that stream `index` comes from, None: what the kernel takes.

        On loopback there are as many as we need, so that ports do not run out.
        """
        if index < PORTS or self.family != socket.AF_INET or not ip_address(self.address[0]).is_loopback:
            return None
        return str(ip_address("127.0.0.2") + index // PORTS)


def resolve(host: str, port: int, *, tls: bool) -> Endpoint:
    """Look a host up. Raises OSError."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return Endpoint(family, (str(address[0]), int(address[1])), host if tls else None)


class Loop:
    """Calls handlers when epoll says that their descriptors are ready."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, events: int, handler: Callable[[], None]) -> None:
        """Call the handler at these events, and no longer what was called before."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Call nothing for it; to be called before it is closed."""
        if self._handlers.pop(fd, None):
            self._epoll.unregister(fd)

    def turn(self, timeout: float) -> None:
        """Wait for events at most `timeout` seconds and handle them."""
        for fd, _ in self._epoll.poll(max(0.0, timeout), MOST):
            handler = self._handlers.get(fd)
            if handler:
                handler()

    def close(self) -> None:
        """Close it; descriptors stay open."""
        self._epoll.close()

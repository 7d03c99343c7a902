"""The event loop: epoll, and what to call for a descriptor."""

import select
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
MOST = 1024


class Loop:
    """Calls handlers with the events of their descriptors."""

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

"""One epoll for all open streams, itself one descriptor in the IOLoop: a stream costs the loop no handler."""

import select
import time
from collections import deque
from typing import Protocol

from tornado.ioloop import IOLoop

from tornado_sse.steps import SLICE

BATCH = 32
"""Events asked for at once."""


class Pollable(Protocol):
    """What is told of its socket's events. Each may come when there is nothing to do."""

    def readable(self) -> None:
        """Bytes, the end, or an error wait to be read."""

    def writable(self) -> None:
        """The socket takes bytes again."""


class Poller:
    """Watches sockets for reading, and on demand for writing. Linux only."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Pollable] = {}
        self._events: deque[tuple[int, int]] = deque()
        self._loop: IOLoop | None = None

    def start(self) -> None:
        """Join the current IOLoop. Calling it again does nothing."""
        if self._loop is None:
            self._loop = IOLoop.current()
            self._loop.add_handler(self._epoll.fileno(), self._ready, IOLoop.READ)

    def close(self) -> None:
        """Leave the loop; nothing is watched any more."""
        if self._loop is not None:
            self._loop.remove_handler(self._epoll.fileno())
            self._loop = None
        self._epoll.close()

    def add(self, fd: int, owner: Pollable) -> None:
        """Watch for reading."""
        self._epoll.register(fd, select.EPOLLIN)
        self._watched[fd] = owner

    def watch(self, fd: int, *, reading: bool, writing: bool) -> None:
        """Change what is watched for. That the peer hung up is told in any case, as something to read."""
        self._epoll.modify(fd, (select.EPOLLIN if reading else 0) | (select.EPOLLOUT if writing else 0))

    def remove(self, fd: int) -> None:
        """Stop watching; to be called before the socket is closed."""
        del self._watched[fd]
        if self._events:  # the descriptor may be another's before its turn comes
            self._events = deque(event for event in self._events if event[0] != fd)
        self._epoll.unregister(fd)

    def _ready(self, _fd: int, _events: int) -> None:
        end = time.monotonic() + SLICE
        self._events = self._events or deque(self._epoll.poll(0, BATCH))
        while self._events:
            fd, events = self._events.popleft()
            owner = self._watched[fd]
            if events & select.EPOLLOUT:
                owner.writable()
            if events & ~select.EPOLLOUT and fd in self._watched:
                owner.readable()
            if time.monotonic() >= end:  # the rest comes first in the next turn: the kernel would tell of it last
                return

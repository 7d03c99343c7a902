"""A connection in Tornado's hands, within bounds that Tornado does not set itself.

Who reads slowly is cut, as is who sends slowly; and nobody has the loop for longer by cutting up what they send.
"""

import asyncio
import socket
from collections.abc import Awaitable
from typing import Protocol

from tornado.httputil import HTTPInputError
from tornado.iostream import IOStream, StreamClosedError

from tornado_sse.plain import MOST_FIELDS

CHUNKS = 16
"""Chunks of a body that are read before others get their turn."""

BESIDE = 2
"""Lines of a head that are no fields: the first and the last."""

END_OF_HEAD = rb"\n\r?\n"
"""Ends where Tornado's own does; that may begin with CR, which takes thirty times as long to look for."""


class Patience(Protocol):
    """Who ends the wait for a client that does not read."""

    def expect(self, waiting: "BoundedStream") -> None:
        """Cut the stream if the client keeps us waiting for too long from now on."""

    def forget(self, waiting: "BoundedStream") -> None:
        """Wait for the client no longer."""


class BoundedStream(IOStream):
    """Reads no request out of its buffer once it is closed, as Tornado would: nobody would get the answer.

    What follows a request that closes the connection is none (RFC 9112 section 9.6).
    """

    def __init__(self, connection: socket.socket, patience: Patience) -> None:
        super().__init__(connection)
        self._patience = patience
        self._chunks = 0

    async def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 - see END_OF_HEAD
        """Read a head. Raises HTTPInputError, which is answered 400, for one that would take long to read."""
        if self.closed():
            raise StreamClosedError
        head = await super().read_until_regex(END_OF_HEAD, max_bytes)
        if head.count(b"\n") > MOST_FIELDS + BESIDE:
            raise HTTPInputError("too many header fields")
        return head

    def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """Read a chunk's size. What is there already would be read without end, were it not for a pause."""
        self._chunks += 1
        if self._chunks % CHUNKS:
            return super().read_until(delimiter, max_bytes)
        return self._read_later(delimiter, max_bytes)

    async def _read_later(self, delimiter: bytes, max_bytes: int | None) -> bytes:
        await asyncio.sleep(0)
        return await super().read_until(delimiter, max_bytes)

    def write_to_fd(self, data: memoryview) -> int:
        """Write what the socket takes. It is tried at first, and then whenever the client has read on."""
        self._patience.expect(self)
        return super().write_to_fd(data)

    def cut(self) -> None:
        """Close it if the client has not taken all."""
        if self.writing():
            self.close()

    def close_fd(self) -> None:
        """Close the socket."""
        self._patience.forget(self)
        super().close_fd()

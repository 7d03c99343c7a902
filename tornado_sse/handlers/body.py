"""Request bodies with a limit of our own: Tornado's answer to one that is too large is no answer that helps."""

from collections.abc import Awaitable
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from tornado_sse.errors import ApiError
from tornado_sse.handlers.base import BaseHandler

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

    from tornado_sse.node import Node

READ_ON = 8
"""A body up to so many times the limit is read to its end, so that the client sees the answer, not a reset."""


class BodyHandler(BaseHandler):
    """Collects the body while it comes; subclasses are decorated with `stream_request_body`."""

    def initialize(self, server: "Node") -> None:
        """Start with no body."""
        super().initialize(server)
        self._chunks: list[bytes] = []
        self._size = 0

    def prepare(self) -> Awaitable[None] | None:
        """Turn away what says that it is too large."""
        most = self.server.settings.max_body_bytes * READ_ON
        length = self.request.headers.get("Content-Length", "")
        too_large = length.isdecimal() and int(length) > most
        # Tornado must not answer on top of us; after an answer this early it reads no more and closes.
        connection = cast("HTTP1Connection", self.request.connection)
        connection.set_max_body_size(int(length) if too_large else most)
        if too_large:
            raise self._too_large()
        return super().prepare()

    def data_received(self, chunk: bytes) -> None:
        """Keep what is within the limit, read on beyond it."""
        self._size += len(chunk)
        if self._size <= self.server.settings.max_body_bytes:
            self._chunks.append(chunk)

    def body(self) -> bytes:
        """Return the body. Raises 413."""
        if self._size > self.server.settings.max_body_bytes:
            raise self._too_large()
        return b"".join(self._chunks)

    def _too_large(self) -> ApiError:
        limit = self.server.settings.max_body_bytes
        return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is above {limit} bytes")

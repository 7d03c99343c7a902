"""Request bodies with a limit of our own: Tornado's answer to one that is too large is no answer that helps."""

from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from tornado_sse.auth import Scope
from tornado_sse.errors import ApiError, BadRequest, UnsupportedMediaType
from tornado_sse.handlers.base import BaseHandler
from tornado_sse.unreadable import UNREADABLE, explain

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

    from tornado_sse.node import Node

READ_ON = 8
"""A body up to so many times the limit is read to its end, so that the client sees the answer, not a reset."""

JSON = "application/json"
IDENTITY = "identity"

DIGITS = 18
"""A length with more digits is nonsense, which Tornado turns away."""


Shape = TypeVar("Shape")


class BodyHandler(BaseHandler):
    """Collects the body of a POST while it comes, for a token with the `scope`; of anybody else's it keeps nothing.

    Subclasses are decorated with `stream_request_body`.
    """

    scope: Scope

    def initialize(self, server: "Node") -> None:
        """Start with no body."""
        super().initialize(server)
        self._chunks: list[bytes] = []
        self._size = 0
        self._refused: ApiError | None = None
        self._prepared = False

    async def prepare(self) -> None:
        """Turn away what says that it is too large, and find out who asks before the body comes."""
        self._prepared = True
        connection = cast("HTTP1Connection", self.request.connection)
        connection.set_max_body_size(10**DIGITS - 1)  # we count; after an answer this early Tornado reads no more
        length = self.request.headers.get("Content-Length", "")
        if length.isdecimal() and len(length) <= DIGITS and int(length) > self._most():
            raise self._too_large()
        if (started := super().prepare()) is not None:
            await started
        if self.request.method == "POST":
            try:
                await self.authorize()
            except ApiError as error:  # told when the body is read, or the client would see a reset and no answer
                self._refused = error

    async def authorize(self) -> None:
        """Find out whether who asks may. Raises Unauthorized or Forbidden."""
        principal = await self.bearer()
        principal.require(self.scope)

    def data_received(self, chunk: bytes) -> None:
        """Keep what is within the limit, read on beyond it, but not for ever. May come before `prepare`, then whole."""
        self._size += len(chunk)
        wanted = self._refused is None and self.request.method == "POST"
        if wanted and self._size <= self.server.settings.max_body_bytes:
            self._chunks.append(chunk)
        elif self._prepared and self._size > self._most():
            error = self._too_large()
            self.send_error(exc_info=(type(error), error, None))

    def on_connection_close(self) -> None:
        """Let go of what came, for the error refers to this handler, and both would wait for the garbage collector."""
        self._chunks = []
        super().on_connection_close()

    def body(self) -> bytes:
        """Return the body. Raises 401 or 403 for a token that may not, 413 for one too large, 415 for an encoded one.

        A compressed body is not taken: how large it becomes would be the client's say (RFC 9110 section 15.5.16).
        """
        if self._refused is not None:
            raise self._refused
        if self._size > self.server.settings.max_body_bytes:
            raise self._too_large()
        if self.request.headers.get("Content-Encoding", IDENTITY).strip().lower() not in ("", IDENTITY):
            raise ApiError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "the body must come without a Content-Encoding",
                {"Accept-Encoding": IDENTITY},
            )
        return b"".join(self._chunks)

    def read(self, shape: type[Shape]) -> Shape:
        """Return the JSON body in the shape wanted. Raises BadRequest, 415 for another type, and what `body` raises."""
        body = self.body()
        if self.media_type() != JSON:
            raise UnsupportedMediaType(JSON)
        try:
            return msgspec.json.decode(body, type=shape)
        except UNREADABLE as error:
            raise BadRequest(explain(error)) from error

    def media_type(self) -> str:
        """Return the body's type without its parameters; a body without one is taken for JSON."""
        return self.request.headers.get("Content-Type", JSON).partition(";")[0].strip().lower()

    def _most(self) -> int:
        return self.server.settings.max_body_bytes * READ_ON

    def _too_large(self) -> ApiError:
        limit = self.server.settings.max_body_bytes
        return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is above {limit} bytes")

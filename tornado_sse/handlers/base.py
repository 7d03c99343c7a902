"""What all handlers share: the error shape, CORS, JSON, and who is asking."""

import asyncio
import time
from collections.abc import Awaitable, Iterable
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError, RequestHandler

from tornado_sse.auth import Principal, bearer_token
from tornado_sse.errors import ApiError, AuthFailure, Forbidden, Unauthorized, error_body
from tornado_sse.handlers.origin import ALLOWED_HEADERS, PREFLIGHT_SECONDS, cors_headers, is_allowed
from tornado_sse.log import logger, redact
from tornado_sse.sockets import http_date

if TYPE_CHECKING:
    from tornado_sse.node import Node


_MESSAGES = {
    HTTPStatus.BAD_REQUEST: "the path, the query or the body is malformed or not UTF-8",
    HTTPStatus.METHOD_NOT_ALLOWED: "this resource has no such method",
    HTTPStatus.INTERNAL_SERVER_ERROR: "an internal error",
}


class BaseHandler(RequestHandler):
    """Answers JSON; errors are `{"message": ..., "status": "NOT_FOUND"}`."""

    def initialize(self, server: "Node") -> None:
        """Take the server that this handler speaks for."""
        self.server = server

    def clear(self) -> None:
        """Begin an answer anew. In place of Tornado's, which writes headers that a stream never sends."""
        self.__dict__.pop("_headers", None)
        self._write_buffer = []
        self.set_status(HTTPStatus.OK)

    @cached_property
    def _headers(self) -> HTTPHeaders:  # type: ignore[override]  # Tornado sets it in clear alone
        """What every answer says, once there is one."""
        headers = HTTPHeaders()
        headers["Content-Type"] = "application/json"
        headers["Date"] = http_date(time.time())
        headers["Cache-Control"] = "no-store"
        headers["X-Content-Type-Options"] = "nosniff"
        if self.server.draining:
            headers["Connection"] = "close"
        return headers

    def _execute(self, transforms: Any, *args: bytes, **kwargs: bytes) -> asyncio.Task[None]:  # type: ignore[override]  # noqa: ANN401 - Tornado's signature
        """Make the task here: Tornado would look for ways to wrap a coroutine first, at several times the cost."""
        task = asyncio.get_running_loop().create_task(super()._execute(transforms, *args, **kwargs))
        self.server.answering.add(task)
        task.add_done_callback(self.server.answering.discard)
        return task

    def compute_etag(self) -> None:
        """Go without: nothing here is worth a conditional request."""

    def prepare(self) -> Awaitable[None] | None:
        """Turn pages of foreign origins away before anything else is looked at."""
        self._set_cors_headers()
        if not is_allowed(self.request.headers, self.server.settings.allowed_origins):
            raise Forbidden(AuthFailure.ORIGIN, "pages of this origin are not allowed here")
        return None if self.server.started else self.server.start()

    def check_xsrf_cookie(self) -> None:
        """Go without, whatever the host application does: a cookie counts only if the browser vouches for the page."""

    def check_trusted_origin(self, _origin: str) -> bool:
        """Leave that to `prepare`, whose rules are ours and not the host application's."""
        return True

    def _set_cors_headers(self) -> None:
        for name, value in cors_headers(self.request.headers, self.server.settings.allowed_origins):
            self.set_header(name, value)

    def options(self, *_: str) -> None:
        """Answer a preflight."""
        self.set_status(HTTPStatus.NO_CONTENT)
        self.set_header("Allow", ", ".join(self.methods()))
        if "Access-Control-Allow-Origin" in self._headers:
            self.set_header("Access-Control-Allow-Methods", ", ".join(self.methods()))
            self.set_header("Access-Control-Allow-Headers", ALLOWED_HEADERS)
            self.set_header("Access-Control-Max-Age", str(PREFLIGHT_SECONDS))

    def methods(self) -> Iterable[str]:
        """Name the methods that this resource answers."""
        inherited = RequestHandler.__dict__
        return [m for m in self.SUPPORTED_METHODS if getattr(type(self), m.lower()) is not inherited[m.lower()]]

    def write_json(self, body: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with a JSON body."""
        self.set_status(status)
        self.write(msgspec.json.encode(body))

    def query_values(self, name: str) -> list[str]:
        """Return the query's values of that name as they were sent. Raises 400 for what is not UTF-8."""
        return [self.decode_argument(value, name) for value in self.request.query_arguments.get(name, ())]

    async def bearer(self) -> Principal:
        """Return who asks, by the Authorization header alone. Raises Unauthorized."""
        token = bearer_token(self.request.headers.get("Authorization"))
        if token is None:
            raise Unauthorized(AuthFailure.MISSING, "a bearer token is wanted")
        return await self.server.authenticator.verify(token, reuse=True)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:  # noqa: ANN401 - Tornado's signature
        """Give our own errors their status."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, Unauthorized | Forbidden):
            self.server.stats.auth_failures[error.failure.value] += 1
        super().send_error(error.status if isinstance(error, ApiError) else status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401 - Tornado's signature
        """Answer an error in its shape; what an unforeseen one says stays in the log."""
        error = kwargs.get("exc_info", (None, None))[1]
        status = HTTPStatus(status_code)
        self._set_cors_headers()
        message = error.message if isinstance(error, ApiError) else _MESSAGES.get(status, status.phrase)
        if isinstance(error, ApiError):
            for name, value in error.headers.items():
                self.set_header(name, value)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.methods()))
        self.finish(error_body(status, message))

    def _request_summary(self) -> str:
        """Redact what Tornado's access log, or the host application's, says of a request."""
        return redact(super()._request_summary())

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:  # noqa: ANN401 - Tornado's signature
        """Log what nobody foresaw. A refused request is counted, not logged: it could be one of very many."""
        if not isinstance(value, ApiError | HTTPError):
            logger().error("request failed", path=redact(self.request.path), exc_info=(typ, value, tb))


class NotFoundHandler(BaseHandler):
    """Every path that is none of ours."""

    def prepare(self) -> None:
        """Answer 404, whatever the method."""
        raise ApiError(HTTPStatus.NOT_FOUND, "there is nothing here")

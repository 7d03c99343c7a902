"""The application: from a path to its handler, and requests that Tornado refuses before there is one."""

from collections.abc import Awaitable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote_to_bytes

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application, RequestHandler

from tornado_sse.errors import error_body
from tornado_sse.handlers.origin import is_local

if TYPE_CHECKING:
    from tornado.routing import PathMatches

BAD = HTTPStatus.BAD_REQUEST


class MisdirectedHandler(RequestHandler):
    """Every request for another host, where only this machine may ask."""

    def prepare(self) -> None:
        """Answer 421."""
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_status(HTTPStatus.MISDIRECTED_REQUEST)
        message = "in dev mode only localhost and addresses are answered, no other host"
        self.finish(error_body(HTTPStatus.MISDIRECTED_REQUEST, message))


class GuardedApplication(Application):
    """An application that answers malformed requests in the error shape; Tornado's own answer has no body.

    `routes` are Tornado's rules for any host, with groups without a name; `dev`: whether it answers to localhost and
    addresses alone; `settings` are Tornado's.
    """

    def __init__(self, routes: Sequence[Any], *, dev: bool = False, **settings: Any) -> None:  # noqa: ANN401 - Tornado's
        super().__init__(list(routes), **settings)
        self._dev = dev
        self._table = [
            (cast("PathMatches", rule.matcher).regex, rule.target, rule.target_kwargs)
            for rule in self.wildcard_router.rules
        ]

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:  # noqa: ANN401 - Tornado's signature
        """Find the path in one table. Tornado's way, by hosts, costs four times as much, and is left the rest."""
        if self._dev and not is_local(request.host_name):
            return self.get_handler_delegate(request, MisdirectedHandler)
        for regex, target, arguments in self._table:
            if match := regex.match(request.path):
                return self.get_handler_delegate(request, target, arguments, [*map(unquote_to_bytes, match.groups())])
        return super().find_handler(request, **kwargs)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Guard what reads the request."""
        return _Guard(super().start_request(server_conn, request_conn), request_conn)


class _Guard(HTTPMessageDelegate):
    def __init__(self, delegate: HTTPMessageDelegate, connection: HTTPConnection) -> None:
        self._delegate = delegate
        self._connection = connection
        self._refused = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        if start_line.version == "HTTP/1.0" and "Transfer-Encoding" in headers:  # RFC 9112 section 6.1
            self._refuse(start_line[0], "Transfer-Encoding is not for HTTP/1.0")
            return None
        try:
            return self._delegate.headers_received(start_line, headers)
        except HTTPInputError as error:
            self._refuse(start_line[0], str(error))
            return None

    def _refuse(self, method: str, message: str) -> None:
        self._refused = True
        body = error_body(BAD, message)
        headers = HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(body))})
        headers["Connection"] = "close"  # who gets this wrong may be wrong about where the next request begins
        self._connection.write_headers(
            ResponseStartLine("HTTP/1.1", BAD.value, BAD.phrase), headers, b"" if method == "HEAD" else body
        )
        self._connection.finish()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        if not self._refused:
            self._delegate.on_connection_close()

"""Requests that Tornado refuses before there is a handler, such as one without a host: answered as others are."""

from collections.abc import Awaitable
from http import HTTPStatus

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from tornado_sse.errors import error_body

BAD = HTTPStatus.BAD_REQUEST


class GuardedApplication(Application):
    """An application that answers malformed requests in the error shape; Tornado's own answer has no body."""

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
        try:
            return self._delegate.headers_received(start_line, headers)
        except HTTPInputError as error:
            self._refused = True
            self._refuse(str(error))
            return None

    def _refuse(self, message: str) -> None:
        body = error_body(BAD, message)
        headers = HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(body))})
        headers["Connection"] = "close"  # who gets this wrong may be wrong about where the next request begins
        self._connection.write_headers(ResponseStartLine("HTTP/1.1", BAD.value, BAD.phrase), headers, body)
        self._connection.finish()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        if not self._refused:
            self._delegate.on_connection_close()

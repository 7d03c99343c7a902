"""Everything that is answered with an error status, and how it reads on the wire.

An error's body is `QuiikaErrorResponse`: `{"message": ..., "status": "UNAUTHORIZED"}`. Authentication errors also carry
`WWW-Authenticate` as RFC 6750 section 3 says; this is the one place that maps them.
"""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus

import msgspec


class AuthFailure(StrEnum):
    """Why a request was not let in: the closed set behind the metric label and the log field."""

    MISSING = "missing"
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    CLAIMS = "claims"
    SESSION = "session"
    SCOPE = "scope"
    ORIGIN = "origin"


def status_name(status: HTTPStatus) -> str:
    """Name a status as RFC 9110 does; Python's own names change between versions."""
    return "CONTENT_TOO_LARGE" if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else status.name


def error_body(status: HTTPStatus, message: str) -> bytes:
    """Write the body that every error answer has."""
    return msgspec.json.encode({"message": message, "status": status_name(status)})


class ApiError(Exception):
    """An error answer: `status` is the HTTP status, `message` is safe to show, `headers` go out with it."""

    def __init__(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


class BadRequest(ApiError):
    """400: the request can't be understood; `message` says what is wrong and what is allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, message)


class UnsupportedMediaType(ApiError):
    """415: the body is of another type than those `allowed`."""

    def __init__(self, *allowed: str) -> None:
        super().__init__(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be one of {', '.join(allowed)}")


class Unavailable(ApiError):
    """503: not now. `retry_after` is in whole seconds."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, message, {"Retry-After": str(retry_after)})


class Unauthorized(ApiError):
    """401: no credentials, or not good ones (RFC 6750 section 3.1, `invalid_token`)."""

    def __init__(self, failure: AuthFailure, message: str) -> None:
        challenge = 'Bearer realm="tornado_sse"'
        if failure is not AuthFailure.MISSING:
            challenge += f', error="invalid_token", error_description="{message}"'
        super().__init__(HTTPStatus.UNAUTHORIZED, message, {"WWW-Authenticate": challenge})
        self.failure = failure


class Forbidden(ApiError):
    """403: known, but not allowed. With `scope`, RFC 6750 section 3.1 `insufficient_scope` names what is wanted."""

    def __init__(self, failure: AuthFailure, message: str, scope: str | None = None) -> None:
        headers = {}
        if scope is not None:
            headers["WWW-Authenticate"] = (
                'Bearer realm="tornado_sse", error="insufficient_scope", '
                f'error_description="{message}", scope="{scope}"'
            )
        super().__init__(HTTPStatus.FORBIDDEN, message, headers)
        self.failure = failure

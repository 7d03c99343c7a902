"""Errors, and the challenges of RFC 6750 that go with them."""

from http import HTTPStatus

import pytest

from tornado_sse.errors import (
    ApiError,
    AuthFailure,
    BadRequest,
    Forbidden,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

REALM = 'Bearer realm="tornado_sse"'


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (ApiError(HTTPStatus.NOT_FOUND, "text"), 404, {}),
        (ApiError(HTTPStatus.CONFLICT, "text", {"X": "y"}), 409, {"X": "y"}),
        (BadRequest("text"), 400, {}),
        (Unavailable("text"), 503, {"Retry-After": "1"}),
        (Unavailable("text", 30), 503, {"Retry-After": "30"}),
        # Section 3.1: without any credentials the challenge carries no error code.
        (Unauthorized(AuthFailure.MISSING, "text"), 401, {"WWW-Authenticate": REALM}),
        (
            Unauthorized(AuthFailure.EXPIRED, "text"),
            401,
            {"WWW-Authenticate": REALM + ', error="invalid_token", error_description="text"'},
        ),
        (Forbidden(AuthFailure.ORIGIN, "text"), 403, {}),
        (
            Forbidden(AuthFailure.SCOPE, "text", "publish"),
            403,
            {"WWW-Authenticate": REALM + ', error="insufficient_scope", error_description="text", scope="publish"'},
        ),
    ],
)
def test_an_error_knows_its_answer(error: ApiError, status: int, headers: dict[str, str]) -> None:
    assert (error.status, error.message, str(error), error.headers) == (status, "text", "text", headers)


@pytest.mark.parametrize("failure", [failure for failure in AuthFailure if failure is not AuthFailure.MISSING])
def test_every_failure_but_a_missing_token_is_an_invalid_token(failure: AuthFailure) -> None:
    error = Unauthorized(failure, "text")
    assert error.failure is failure
    assert 'error="invalid_token"' in error.headers["WWW-Authenticate"]


def test_headers_are_not_shared() -> None:
    headers = {"X": "y"}
    ApiError(HTTPStatus.NOT_FOUND, "text", headers).headers["Z"] = "1"
    assert headers == {"X": "y"}


def test_a_body_of_another_type_is_told_which_are_allowed() -> None:
    error = UnsupportedMediaType("application/json", "application/x-ndjson")
    assert error.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    assert error.message == "Content-Type must be one of application/json, application/x-ndjson"
    assert error.headers == {}

"""Types of the fixtures that the tests of the handlers share."""

from typing import Any, Protocol

from tornado.httpclient import HTTPResponse


class Ask(Protocol):
    """Make a request, as `user` unless None; `body` that is no bytes goes as JSON."""

    async def __call__(
        self,
        path: str,
        *,
        method: str = "GET",
        body: object = None,
        headers: dict[str, str] | None = None,
        user: str | None = "u1",
        **claims: Any,
    ) -> HTTPResponse: ...

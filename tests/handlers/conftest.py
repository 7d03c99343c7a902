"""A server behind pytest-tornado's fixtures: its time is the test's, and its settings are the fixture `settings`."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.ioloop import IOLoop
from tornado.web import Application

from handlers_support import Ask
from server_support import SECRET, Clock, bearer
from tornado_sse.app import EventServer
from tornado_sse.config import Settings
from tornado_sse.handlers.routes import application


@pytest.fixture
def settings() -> dict[str, Any]:
    return {}


@pytest.fixture
def server(io_loop: IOLoop, clock: Clock, settings: dict[str, Any]) -> Iterator[EventServer]:
    server = EventServer(Settings(**{"jwt_secret": SECRET} | settings), clocks=clock.clocks)
    yield server
    io_loop.run_sync(server.close)


@pytest.fixture
def app(server: EventServer) -> Application:
    return application(server, server.routes())


@pytest.fixture
def ask(http_client: AsyncHTTPClient, base_url: str, server: EventServer) -> Ask:
    """Make a request to the server."""

    async def ask(
        path: str,
        *,
        method: str = "GET",
        body: object = None,
        headers: dict[str, str] | None = None,
        user: str | None = "u1",
        **claims: Any,
    ) -> HTTPResponse:
        every = {} if body is None else {"Content-Type": "application/json"}
        every |= (bearer(user, now=server.clocks.wall(), **claims) if user else {}) | (headers or {})
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return await http_client.fetch(
            base_url + path,
            method=method,
            body=content,
            headers=every,
            raise_error=False,
            follow_redirects=False,
            allow_nonstandard_methods=True,
        )

    return ask

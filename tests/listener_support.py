"""A listener with a few handlers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from tornado.web import RequestHandler

from client_support import Client
from tornado_sse.handlers.application import GuardedApplication
from tornado_sse.listener import Listener


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("hello")

    def post(self) -> None:
        self.write(self.request.body)


class Held(RequestHandler):
    """Answers when it is told to."""

    waiting: ClassVar[list[asyncio.Event]] = []

    async def get(self) -> None:
        event = asyncio.Event()
        self.waiting.append(event)
        await event.wait()
        self.waiting.remove(event)
        self.write("hello")


class Account(RequestHandler):
    """Answers with what it was asked."""

    def get(self) -> None:
        asked = [self.request.method, self.request.uri, self.request.version, self.request.host]
        fields = [field for field in self.request.headers.get_all() if field[0] != "Connection"]
        self.write({"asked": asked, "fields": fields, "body": self.request.body.decode("latin-1")})

    post = delete = options = put = head = get


class Empty(RequestHandler):
    def get(self) -> None:
        self.set_status(204)


class Parts(RequestHandler):
    async def get(self) -> None:
        for part in ("one", "two"):
            self.write(part)
            await self.flush()


ROUTES = [("/", Hello), ("/held", Held), ("/account", Account), ("/empty", Empty), ("/parts", Parts)]


@asynccontextmanager
async def listening(host: str = "127.0.0.1", **options: Any) -> AsyncIterator[Listener]:
    listener = Listener(GuardedApplication(ROUTES, log_function=lambda _: None), host, 0, **options)
    listener.start()
    try:
        yield listener
    finally:
        await listener.close()


async def hello(port: int) -> bytes:
    client = await Client.to(port)
    await client.request("/")
    response = await client.response()
    client.close()
    return response.body

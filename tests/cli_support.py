"""The command line run in-process, and a server that answers what it is told to and remembers what it was asked."""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from click.testing import CliRunner, Result
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from tornado_sse.cli import main

SECRET = "a secret for the tests, made of 40 bytes"
DEADLINE = 10.0

CUT = b"(cut)"
"""A part of an answer that stands for the connection being dropped."""


def invoke(*args: str, stdin: bytes | None = None, **env: str) -> Result:
    """Run `tornado-sse` with these variables and no others of its own."""
    clean = dict.fromkeys(name for name in os.environ if name.startswith("TORNADO_SSE_"))
    return CliRunner().invoke(main, args, input=stdin, env={**clean, "NO_PROXY": "127.0.0.1", **env})


@dataclass(frozen=True)
class Answer:
    """What the server says to one request: a stream of these parts, unless told otherwise."""

    parts: tuple[bytes, ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})


@dataclass
class Scripted:
    """A server that gives its answers in turn, and what it was asked."""

    url: str
    answers: deque[Answer] = field(default_factory=deque)
    requests: list[HTTPServerRequest] = field(default_factory=list)


class _Handler(RequestHandler):
    def initialize(self, script: Scripted) -> None:
        self.script = script

    async def get(self) -> None:
        self.script.requests.append(self.request)
        answer = self.script.answers.popleft()
        self.set_status(answer.status)
        for name, value in answer.headers.items():
            self.set_header(name, value)
        for part in answer.parts:
            if part is CUT:
                self.request.connection.stream.close()  # type: ignore[union-attr]
                return
            self.write(part)
            await self.flush()

    post = get


@contextmanager
def scripted_server(*answers: Answer) -> Iterator[Scripted]:
    """Run a server on a loop of its own in a thread."""
    (socket,) = bind_sockets(0, "127.0.0.1")
    script = Scripted(f"http://127.0.0.1:{socket.getsockname()[1]}", deque(answers))
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        server = HTTPServer(Application([(".*", _Handler, {"script": script})], log_function=lambda _: None))
        server.add_sockets([socket])
        await stop.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        yield script
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE)
        loop.close()

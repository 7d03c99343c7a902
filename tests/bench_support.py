"""`tornado-sse bench` run in-process, and a server whose faults it has to find."""

import asyncio
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from click.testing import Result

from cli_support import DEADLINE, SECRET, invoke
from tornado_sse.cli.bench import marker, runner
from tornado_sse.cli.bench.sockets import Endpoint, resolve

RUN = "0123abcd"


BEGIN = marker.prefix(RUN)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


BROKEN = OSError(5, "broken")


PATIENCE = 20.0
HASTE = 0.05


def bench(url: str, *args: str, settle: float = PATIENCE, **env: str) -> Result:
    """Run it; it waits `settle` seconds for what may still happen."""
    with mock.patch.object(runner, "SETTLE", settle):
        return invoke("bench", url, *args, stdin=None, **({"TORNADO_SSE_JWT_SECRET": SECRET} | env))


def found(url: str, *args: str) -> Any:
    """Run it without any fault, and return its JSON."""
    result = bench(url, "--json", *args)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@dataclass
class Faulty:
    """A server whose streams get what `deliver` makes of each publish request's markers, and `posted` its answer.

    `last_post`: after so many publish requests nobody waits long for what it lost.
    """

    deliver: Callable[[list[bytes]], list[bytes]] = list
    head: bytes = STREAM
    posted: bytes = OK
    closes_at_publish: bool = False
    close_after: int = 0
    last_post: int = 0
    url: str = ""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    posts: int = 0
    connections: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = field(default_factory=dict)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections[writer] = asyncio.current_task()
        answered = 0
        try:
            while not self.close_after or answered < self.close_after:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    self.writers.append(writer)
                    writer.write(self.head)
                    if self.head != STREAM:
                        break
                else:
                    length = re.search(rb"Content-Length: (\d+)", head)
                    assert length
                    self.publish(writer, await reader.readexactly(int(length[1])))
                    answered += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def close(self) -> None:
        for writer in self.connections:
            writer.transport.abort()
        await asyncio.gather(*filter(None, self.connections.values()))

    def publish(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        self.posts += 1
        markers = re.findall(rb"@[0-9a-f]{8}:\d{29}", body)
        for stream in self.writers:
            stream.write(b"".join(b"data: %b\n\n" % found for found in self.deliver(markers)))
            if self.closes_at_publish:
                stream.close()
        writer.write(self.posted)
        if not self.posted:
            writer.close()
        if self.posts == self.last_post:
            runner.SETTLE = HASTE


@contextmanager
def faulty(context: ssl.SSLContext | None = None, **faults: Any) -> Iterator[Faulty]:
    """Run such a server on a loop of its own in a thread."""
    server = Faulty(**faults)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=context)
        scheme, host = ("https", "localhost") if context else ("http", "127.0.0.1")
        server.url = f"{scheme}://{host}:{listening.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        listening.close()
        await server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert ready.wait(DEADLINE)
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE)
        loop.close()


class Failing:
    """A socket of which one method raises."""

    def __init__(self, method: str, error: Exception) -> None:
        self._socket = socket.socket()
        self._method = method
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name != self._method:
            return getattr(self._socket, name)

        def fail(*_: object, **__: object) -> None:
            raise self._error

        return fail


@contextmanager
def silent_server() -> Iterator[Endpoint]:
    """Accept connections, and say nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield resolve(*server.getsockname(), tls=False)

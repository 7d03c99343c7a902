"""A connection to NATS: requests, acknowledged publishes, subscriptions. It is never mended: a new one is made.

nats-py keeps a queue, and maybe a task, for each subscription, 3.7 KiB. Here all share one place where messages go, as
they are read: half a KiB each, and one order over all.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar, cast

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError

from tornado_sse.brokers.base import BrokerProblem
from tornado_sse.errors import Unavailable

T = TypeVar("T")

FAILURES = (NatsError, OSError, TimeoutError, EOFError)
"""What nats-py raises when a connection does not do."""

REFUSED = "Authorization Violation"
"""What a server says to who it does not let in."""

ATTEMPTS = 3
"""Deadlines that trying several servers may take, until the next round."""

STATUS = "Status"
"""Where nats-py puts the status of a reply that is not a message."""


class Sink(asyncio.Future[Msg]):
    """What a subscription hands each of its messages to, at once, in place of a queue: nats-py takes a future."""

    def __init__(self, take: Callable[[Msg], None]) -> None:
        super().__init__()
        self._take = take

    def set_result(self, message: Msg) -> None:
        """Pass a message on; unlike a future's, any number of times."""
        self._take(message)


class _Transport(TcpTransport):
    """TCP that does not wait, at the end, for a peer that takes nothing any more."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __bool__(self) -> bool:
        return True  # or nats-py would put its own in this one's place

    def close(self) -> None:
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    async def wait_closed(self) -> None:
        """Wait for nothing: after a TLS handshake that failed asyncio never says that it is closed."""


class _Client(Client):
    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 - nats-py's own
        """Have TLS where it is wanted: nats-py leaves that to the server, and so to whoever stands between."""
        server = self._current_server
        if "tls" in self.options or (server and server.uri.scheme == "tls"):
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """Read headers as nats-py does, but for looking at each letter of a name: a third of all that it does."""
        lines = (line.partition(":") for line in raw.decode("utf-8", "replace").split("\r\n"))
        return {name: value.strip() for name, colon, value in lines if colon}


@dataclass(slots=True)
class Reply:
    """What comes back to `subject`, or to one below it; `done` says whether that is all."""

    subject: str
    done: Callable[[list[Msg]], bool]
    future: "asyncio.Future[list[Msg]]"
    messages: list[Msg] = field(default_factory=list)


class Link:
    """One connection. `deadline` in seconds is for each step. `closed` is set when it ended, for whatever reason."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._client = _Client()
        self._transport = self._client._transport = _Transport()  # noqa: SLF001 - there is no other way in
        self._unused: asyncio.Queue[Msg] = asyncio.Queue()
        self._numbers = count()
        self._replies: dict[str, Reply] = {}
        self._awaited: set[asyncio.Future[Any]] = set()
        self._inbox = ""
        self.closed = asyncio.Event()

    async def connect(self, servers: Sequence[str], **options: Any) -> None:  # noqa: ANN401 - handed to nats-py
        """Connect to one of the servers. Raises Unavailable, or BrokerProblem if they won't let us in."""
        try:
            async with asyncio.timeout(ATTEMPTS * self._deadline):
                await self._client.connect(
                    list(servers),
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=cast("int", self._deadline),
                    error_cb=_ignore,
                    closed_cb=self._ended,
                    skip_subject_validation=True,
                    **options,
                )
                self._inbox = self._client.new_inbox()
                await self.subscribe(self._inbox + ".>", Sink(self._replied))
        except FAILURES as error:
            await self.close()
            problem = f"NATS: {str(error).removeprefix('nats: ') or type(error).__name__}"
            raise BrokerProblem(problem) if REFUSED in problem else Unavailable(problem) from error

    async def close(self) -> None:
        """End the connection. What waits for an answer raises Unavailable."""
        await self._ended()
        self._transport.close()
        with suppress(*FAILURES):
            async with asyncio.timeout(self._deadline):
                await self._client.close()

    async def subscribe(self, subject: str, sink: Sink) -> Subscription:
        """Subscribe. Raises Unavailable."""
        try:
            subscription = await self._client.subscribe(subject, future=sink)
        except FAILURES as error:
            raise Unavailable(f"NATS: {error}") from error
        subscription._pending_queue = self._unused  # noqa: SLF001 - with a future there is no use for a queue
        return subscription

    async def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Give subscriptions up, if the connection still is one."""
        with suppress(*FAILURES):
            for subscription in subscriptions:
                await subscription.unsubscribe()

    async def send_json(self, subject: str, body: object, reply: str) -> None:
        """Send a request. Raises Unavailable."""
        async with self.in_time():
            await self.send(subject, msgspec.json.encode(body) if body else b"", None, reply)

    async def send(self, subject: str, payload: bytes, headers: dict[str, str] | None, reply: str = "") -> None:
        """Send a message, as far as the buffer; when that is full it waits (see `in_time`). Raises Unavailable."""
        try:
            await self._client.publish(subject, payload, reply, headers or None)
        except FAILURES as error:
            raise Unavailable(f"NATS: {error or type(error).__name__}") from error

    async def ask(self, subject: str, body: object) -> dict[str, Any]:
        """Ask the JetStream API and return the answer. Raises Unavailable if there is none."""
        with self.expect() as reply:
            await self.send_json(subject, body, reply.subject)
            (message,) = await self.within(reply.future)
        return read_answer(message)

    @contextmanager
    def expect(self, done: Callable[[list[Msg]], bool] = bool) -> Iterator[Reply]:
        """Have a subject to be answered to, and a future for the answers; `done` says whether they are all there."""
        number = str(next(self._numbers))
        reply = Reply(f"{self._inbox}.{number}", done, asyncio.get_running_loop().create_future())
        self._replies[number] = reply
        try:
            yield reply
        finally:
            del self._replies[number]
            reply.future.cancel()

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Do several steps within one deadline. Raises Unavailable."""
        try:
            async with asyncio.timeout(self._deadline) as limit:
                yield
        except TimeoutError as error:
            raise Unavailable("NATS does not answer in time") from error
        if limit.expired():  # nats-py swallowed the cancellation
            raise Unavailable("NATS does not answer in time")

    async def within(self, future: "asyncio.Future[T]") -> T:
        """Wait for a result, no longer than the deadline, nor than the connection lasts. Raises Unavailable."""
        if self.closed.is_set():
            raise Unavailable("NATS is out of reach")
        self._awaited.add(future)
        try:
            async with self.in_time():
                return await future
        finally:
            self._awaited.discard(future)

    def _replied(self, message: Msg) -> None:
        reply = self._replies.get(message.subject[len(self._inbox) + 1 :].partition(".")[0])
        if reply and not reply.future.done():
            reply.messages.append(message)
            if reply.done(reply.messages):
                reply.future.set_result(reply.messages)

    async def _ended(self) -> None:
        self.closed.set()
        for future in self._awaited:
            if not future.done():
                future.set_exception(Unavailable("NATS is out of reach"))


def read_answer(message: Msg) -> dict[str, Any]:
    """Read an answer of the JetStream API, or an acknowledgement. Raises Unavailable if it comes from nobody."""
    if message.headers and STATUS in message.headers:
        raise Unavailable("NATS: JetStream does not answer")
    fields: dict[str, Any] = msgspec.json.decode(message.data)
    return fields


async def _ignore(_: Exception) -> None:
    """Say nothing: what matters is raised where it is waited for, or ends the connection."""

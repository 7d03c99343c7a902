"""A link: one connection to the engine, with any number of commands under way, and a channel's messages in between."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio import Connection
from redis.exceptions import ConnectionError as LinkLost
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from tornado_sse.brokers.redis.codec import Word


class Link:
    """Takes a connection over. Answers come in the order of commands; `message(channel, data)` gets the others.

    `lost` is done when the connection is; its result says why.
    """

    def __init__(self, connection: Connection, message: Callable[[bytes, bytes], None]) -> None:
        self._connection = connection
        writer = connection._writer  # noqa: SLF001 - there is no other way to an abort
        assert writer  # noqa: S101 - it is connected; tells the type checker
        self._transport = writer.transport
        self._message = message
        self._calls: deque[asyncio.Future[Any]] = deque()
        self.lost = asyncio.create_task(self._read())

    async def call(self, *words: Word) -> Any:  # noqa: ANN401 - what the engine answers
        """Send a command and return its answer. Raises RedisError: of a command under way nobody knows what became."""
        self.check()
        answer = asyncio.get_running_loop().create_future()
        self._calls.append(answer)
        await self._send(words)
        return await answer

    async def tell(self, *words: Word) -> None:
        """Send a command that has no answer of its own: interest in channels. Raises RedisError."""
        self.check()
        await self._send(words)

    async def close(self) -> None:
        """Let go of the connection; what is under way fails."""
        self.lost.cancel()
        await asyncio.wait([self.lost])
        self._transport.abort()  # into a black hole what is unsent would never be sent, nor the socket closed
        await self._connection.disconnect(nowait=True)

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.lost.done() or not self._connection.is_connected

    def check(self) -> None:
        """Raise RedisError if nothing can be sent any more."""
        if self.is_lost:  # else sending would connect anew
            raise LinkLost("the connection is lost")

    async def _send(self, words: tuple[Word, ...]) -> None:
        # redis-py packs in Python: a third of what a node would do for a publish. hiredis's stub knows but one word.
        packed = hiredis.pack_command(words)  # type: ignore[arg-type]
        await self._connection.send_packed_command(packed, check_health=False)

    async def _read(self) -> Exception:
        try:
            while True:
                self._take(await self._answer())
        except (RedisError, OSError) as error:
            return error
        finally:
            for call in self._calls:
                self._settle(call, LinkLost("the connection is lost"))

    async def _answer(self) -> object:
        try:
            return await self._connection.read_response(disconnect_on_error=False)
        except ResponseError as error:
            return error

    def _take(self, answer: object) -> None:
        match answer:
            case [b"message", bytes(channel), bytes(data)]:
                self._message(channel, data)
            case [b"subscribe" | b"unsubscribe", *_]:
                pass
            case _ if self._calls:
                self._settle(self._calls.popleft(), answer)
            case _:
                raise InvalidResponse(f"an answer to nothing: {answer!r}")

    def _settle(self, call: asyncio.Future[Any], answer: object) -> None:
        if call.done():  # cancelled: nobody waits for it any more
            return
        if isinstance(answer, Exception):
            call.set_exception(answer)
        else:
            call.set_result(answer)

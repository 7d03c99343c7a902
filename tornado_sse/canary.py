"""The canary: a stream of our own through the public listener, that gets a message now and then.

It sees what no counter within does: that connects are let in, that the hub delivers, and how long it takes all the way.
"""

import asyncio
from collections.abc import Callable
from secrets import token_hex
from typing import TYPE_CHECKING

from tornado_sse.errors import ApiError
from tornado_sse.log import logger

if TYPE_CHECKING:
    from tornado_sse.node import Node

USER = "tornado-sse-canary"
"""Whose stream it is."""

PATIENCE = 5.0
"""Seconds that a message has, with the connect if there is no stream."""

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to reach who listens everywhere


class CanaryDied(Exception):
    """The stream could not be opened; the text says what was answered."""


class Canary:
    """Measures a node by its public listener at `host` and `port`; `clock` is monotonic.

    It counts `Stats.canary`, from a publish to the arrival, and `Stats.canary_failures`.
    """

    def __init__(self, node: "Node", host: str, port: int, clock: Callable[[], float]) -> None:
        self._node = node
        self._host = _ANY.get(host, host)
        self._port = port
        self._clock = clock
        self._session = ""
        self._renew_at = 0.0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._failing = False

    async def live(self, interval: float) -> None:
        """Send a message every `interval` seconds, until cancelled."""
        try:
            while True:
                await self.sing()
                await asyncio.sleep(interval)
        finally:
            self._hang_up()

    async def sing(self) -> None:
        """Send one message around; count how long it took, or that it did not come. While draining none is sent."""
        if self._node.draining:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                reader = await self._listen()
                text, began = token_hex(8), self._clock()
                await self._node.publish({"user": USER, "session": self._session}, text, event="canary", ttl=0)
                await reader.readuntil(text.encode())
        except (OSError, EOFError, asyncio.LimitOverrunError, ApiError, CanaryDied) as error:
            self._hang_up()
            self._failed(str(error) or type(error).__name__)
            return
        self._node.stats.canary.observe(self._clock() - began)
        if self._failing:
            logger().info("canary sings again")
        self._failing = False

    async def _listen(self) -> asyncio.StreamReader:
        if self._clock() >= self._renew_at:
            self._hang_up()
        if self._streams is None:
            self._renew_at = self._clock() + self._node.settings.session_ttl / 2
            self._session = self._node.mint(USER).session_id
            self._streams = reader, writer = await asyncio.open_connection(self._host, self._port)
            lines = [f"GET /sse/connect/{self._session} HTTP/1.1", "Host: localhost", "Accept: text/event-stream"]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 ") or b"chunked" not in head:  # a stream that is shed has a length
                raise CanaryDied("no stream was opened: " + head.partition(b"\r\n")[0].decode("latin-1"))
        return self._streams[0]

    def _hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _failed(self, problem: str) -> None:
        if self._node.draining:
            return
        self._node.stats.canary_failures += 1
        if not self._failing:
            logger().warning("canary died", problem=problem)
        self._failing = True

"""A TCP proxy that fails on demand: it passes bytes on, stalls (a black hole that does not close), or cuts."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK = 65536

ACCEPTING = 5
"""Turns of the loop from a connection that the kernel accepted to the first step of `accept`, and more."""


class TcpProxy:
    """Passes connections on to a port on loopback. `stall` stops both ways, and new connections hang, until `flow`.

    `target`, a port, may be changed: that is where new connections lead.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._open = asyncio.Event()
        self._open.set()
        self._ways: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.port = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        way = asyncio.current_task()
        assert way is not None
        self._ways.add(way)
        try:
            await self._open.wait()
            there = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pass_on(reader, there[1]))
                    both.create_task(self._pass_on(there[0], writer))
            finally:
                there[1].transport.abort()
        except* (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._ways.discard(way)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        raise EOFError

    def stall(self) -> None:
        """Let nothing through, either way, without closing anything."""
        self._open.clear()

    def flow(self) -> None:
        """Let everything through again, what waited first."""
        self._open.set()

    async def cut(self) -> None:
        """Break off all connections there are; new ones are taken."""
        ways = list(self._ways)
        for way in ways:
            way.cancel()
        for way in ways:
            with suppress(asyncio.CancelledError):
                await way


@asynccontextmanager
async def tcp_proxy(target: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[TcpProxy]:
    """Run a proxy to the port, which ends TLS if there is a context for that."""
    proxy = TcpProxy(target)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for _ in range(ACCEPTING):
            await asyncio.sleep(0)
        await proxy.cut()
        await server.wait_closed()

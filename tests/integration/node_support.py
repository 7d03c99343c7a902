"""A client of npm as a process, and a proxy before the server that cuts its connection."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

CLIENTS = Path(__file__).parents[1] / "clients"
CLIENT = Path(__file__).parents[2] / "client"
DEADLINE = 20.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends an RST at once

Said = dict[str, Any]


class NodeClient:
    """A running script of tests/clients: what it said so far, each thing a line of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[Said] = []

    @property
    def events(self) -> list[Said]:
        return [said for said in self.said if said["what"] == "event"]

    async def until(self, wanted: Callable[[Said], bool]) -> None:
        """Read on until it says something wanted."""
        async with asyncio.timeout(DEADLINE):
            while not wanted(await self._read()):
                pass

    async def exits(self) -> int:
        """Read on until it ends by itself."""
        async with asyncio.timeout(DEADLINE):
            with suppress(EOFError):
                while True:
                    await self._read()
            return await self._process.wait()

    async def _read(self) -> Said:
        assert self._process.stdout
        line = await self._process.stdout.readline()
        if not line:
            raise EOFError(f"the client ended, having said {self.said}")
        said: Said = json.loads(line)
        self.said.append(said)
        return said


@asynccontextmanager
async def said_by(*command: str | Path) -> AsyncIterator[NodeClient]:
    """Run a program, which says what happens to it, until the block ends."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield NodeClient(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def node_client(node: str, script: str, *arguments: str) -> AbstractAsyncContextManager[NodeClient]:
    """Run a script of tests/clients until the block ends."""
    return said_by(node, CLIENTS / script, *arguments)


class Proxy:
    """Passes bytes on to a port, and can cut all connections, at once or within the bytes that come next."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._clients: set[asyncio.StreamWriter] = set()
        self._allowance: int | None = None
        self._refusal = b""
        self.port = 0
        self.connects = 0
        self.head = b""  # what the last answer began with

    def cut(self, *, abrupt: bool) -> None:
        """Cut every connection now, by an RST or a FIN."""
        for client in self._clients:
            _hang_up(client, abrupt=abrupt)

    def cut_after(self, size: int) -> None:
        """Let so many bytes more through to a client, then cut."""
        self._allowance = size

    def refuse(self, status: int) -> None:
        """Answer the next request with that status, in the server's place."""
        self._refusal = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()

    def lead_to(self, port: int) -> None:
        """Have those who connect from here on reach another server."""
        self._target = port

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connects += 1
        self._clients.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._join(reader, writer, await reader.readuntil(b"\r\n\r\n"))
        self._clients.discard(writer)
        _hang_up(writer, abrupt=False)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        if self._refusal:
            refusal, self._refusal = self._refusal, b""
            writer.write(refusal)
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        server_writer.write(request)
        upstream = asyncio.ensure_future(_pass_on(reader, server_writer))
        with suppress(ConnectionError):
            self.head = data = await server_reader.read(65536)
            while data:
                self._write(writer, data)
                data = await server_reader.read(65536)
        upstream.cancel()
        _hang_up(server_writer, abrupt=True)

    def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self._allowance is None:
            writer.write(data)
        elif len(data) <= self._allowance:
            self._allowance -= len(data)
            writer.write(data)
        else:
            writer.write(data[: self._allowance])
            self._allowance = None
            _hang_up(writer, abrupt=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut(abrupt=True)
            await server.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.transport.abort()  # the client is gone: the server's side ends too


def _hang_up(writer: asyncio.StreamWriter, *, abrupt: bool) -> None:
    if writer.is_closing():
        return
    if abrupt:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
    else:
        writer.close()

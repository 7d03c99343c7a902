import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tcp_proxy import TcpProxy, tcp_proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def play(scenario: Callable[[TcpProxy], Awaitable[None]]) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
        async with asyncio.timeout(10), tcp_proxy(server.sockets[0].getsockname()[1]) as proxy:
            await scenario(proxy)
        server.close()

    asyncio.run(run())


async def said(streams: Streams, text: bytes) -> bytes:
    reader, writer = streams
    writer.write(text)
    return await reader.read(100)


def test_it_passes_bytes_on() -> None:
    async def scenario(proxy: TcpProxy) -> None:
        streams = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await said(streams, b"hello") == b"hello"
        streams[1].close()

    play(scenario)


def test_stalled_it_neither_answers_nor_closes_and_loses_nothing() -> None:
    async def scenario(proxy: TcpProxy) -> None:
        streams = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await said(streams, b"a") == b"a"
        proxy.stall()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(said(streams, b"b"), 0.1)
        proxy.flow()
        assert await streams[0].read(100) == b"b"
        streams[1].close()

    play(scenario)


def test_cut_it_ends_what_is_open_and_takes_new_connections() -> None:
    async def scenario(proxy: TcpProxy) -> None:
        streams = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await said(streams, b"a") == b"a"
        await proxy.cut()
        assert await streams[0].read(1) == b""
        again = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await said(again, b"c") == b"c"
        for one in (streams, again):
            one[1].close()
        assert proxy.connections == 2

    play(scenario)

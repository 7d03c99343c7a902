"""Attack: a client asks for a stream, sends one byte more, and is gone, by FIN or by RST, thousands of times.

The byte keeps a server that never reads from noticing the end: it would take the stream for open for ever.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import product

import pytest

from abuse_process import MIB, metric, resident
from abuse_support import sizes
from client_support import Client
from serve_support import Process, served

AT_ONCE = 100
ROUNDS = 5
KEEPALIVE = 15.0
FLAT = 4 * MIB
"""A session is remembered for a minute after its last stream, in some 300 bytes."""


async def close(client: Client) -> None:
    client.close()


async def reset(client: Client) -> None:
    client.reset()


async def finish(client: Client) -> None:
    """Say that nothing more comes, and wait for the server to close."""
    client.socket.shutdown(socket.SHUT_WR)
    await client.read_all()
    client.close()


KINDS = list(product((close, reset, finish), (True, False)))


async def ghost(process: Process, number: int, end: Callable[[Client], Awaitable[None]], *, patient: bool) -> None:
    """Connect and go: once the stream is open, or before the server has looked."""
    client = await process.client()
    await client.request(f"/sse/connect/g{number}", process.bearer(f"g{number % 50}"))
    if patient:
        await client.streaming()
    with suppress(ConnectionError):
        await client.send(b"x")
        await end(client)


async def haunt(process: Process, numbers: range) -> None:
    for first in numbers[::AT_ONCE]:
        together = range(first, min(first + AT_ONCE, numbers.stop))
        kinds = [(number, *KINDS[number % len(KINDS)]) for number in together]
        await asyncio.gather(*(ghost(process, number, end, patient=patient) for number, end, patient in kinds))


@sizes(short=300, long=5000)
@pytest.mark.gen_test(timeout=300)
async def test_clients_that_are_gone_leave_no_stream_and_no_memory(size: int, held: Callable[[str], None]) -> None:
    async with served(keepalive=KEEPALIVE) as process:
        each, memory, slowest = size // ROUNDS, [], 0.0
        for first in range(0, size, each):
            await haunt(process, range(first, first + each))
            gone = time.monotonic()
            while await metric(process, "tornado_sse_open_streams"):
                assert time.monotonic() - gone < KEEPALIVE, "ghosts are still there"
            slowest = max(slowest, time.monotonic() - gone)
            memory.append(resident(process))
        growth = memory[-1] - memory[0]
        assert growth < FLAT
        assert await metric(process, 'tornado_sse_streams_closed_total{reason="client_gone"}') >= size / 2
        held(f"{size} ghosts: open_streams back to 0 in {slowest:.2f} s, memory +{growth / MIB:.1f} MiB")

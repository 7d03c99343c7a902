"""Attack: thousands of connections that send a request's head or body a byte at a time (slowloris, R.U.D.Y.).

Or that ask, and never read the answer. Each would hold a connection for as long as it likes, until others get none.
"""

import asyncio
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle, islice
from typing import NamedTuple

import pytest

from abuse_process import MIB, descriptors, descriptors_fall_to, resident
from abuse_support import sizes
from client_support import Client
from serve_support import Process, served

BOUNDED = "from tornado_sse import cli, listener; listener.SLOW = {}; cli.main(['serve'])"
"""The server, with another bound: the short form can't wait for ten seconds."""

ROOM = 4.0
"""Seconds beyond the bound: one until the server looks, the rest for a busy machine."""

POST = b"POST /sse/publish HTTP/1.1\r\nHost: localhost\r\n"
BEGIN = {
    "head": b"GET /sse/connect/s1 HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "short body": POST + b"Content-Length: 60000\r\n\r\n[",
    "long body": POST + b"Content-Length: 8000000\r\n\r\n[",
    "chunked body": POST + b"Transfer-Encoding: chunked\r\n\r\n5;",
}


class Size(NamedTuple):
    sockets: int
    bound: float
    connects: int


async def outlast(client: Client, begin: bytes, seconds: float) -> float:
    """Begin a request, send a byte a second, and return after how many seconds the server has cut it."""
    start = time.monotonic()
    dripping = asyncio.create_task(drip(client, begin))
    with suppress(ConnectionError):
        async with asyncio.timeout(seconds):
            while await asyncio.get_running_loop().sock_recv(client.socket, 4096):
                pass
    dripping.cancel()
    client.close()
    return time.monotonic() - start


async def drip(client: Client, begin: bytes) -> None:
    with suppress(OSError):
        await client.send(begin)
        while True:
            await asyncio.sleep(1)
            await client.send(b"a")


async def connect_seconds(process: Process, count: int) -> list[float]:
    """Open streams, one after the other, and return how long each took, sorted."""
    seconds = []
    for number in range(count):
        start = time.monotonic()
        (await process.opened(f"good{number}")).close()
        seconds.append(time.monotonic() - start)
    return sorted(seconds)


@sizes(short=Size(200, 1.0, 20), long=Size(5000, 9.0, 200))
@pytest.mark.gen_test(timeout=120)
async def test_slow_heads_and_bodies_are_cut_while_others_connect(size: Size, held: Callable[[str], None]) -> None:
    async with served(code=BOUNDED.format(size.bound)) as process:
        before, most = resident(process), size.bound + ROOM
        begins = islice(cycle(BEGIN.values()), size.sockets)
        attack = [  # one connects after the other: more at once than the kernel holds would wait there
            asyncio.create_task(outlast(await process.client(), begin, 3 * most)) for begin in begins
        ]
        seconds = await connect_seconds(process, size.connects)
        memory, cut = resident(process) - before, await asyncio.gather(*attack)
        p99 = seconds[int(0.99 * len(seconds))]
        assert max(cut) < most
        assert p99 < 1
        held(
            f"{size.sockets} slow requests: cut after {max(cut):.1f} s (bound {size.bound:g}); connects meanwhile: "
            f"p99 {p99:.3f} s; memory +{memory / MIB:.0f} MiB"
        )


ASKED = b"GET /sse/client.js.map HTTP/1.1\r\nHost: localhost\r\n%b\r\n"
"""A large answer, asked for in a plain request or in one that Tornado has to read; it can be asked for many times."""


@sizes(short=Size(20, 1.0, 10), long=Size(500, 9.0, 200))
@pytest.mark.parametrize("fields", [b"", b"X: 1\r\nX: 2\r\n"], ids=["plain", "not plain"])
@pytest.mark.gen_test(timeout=120)
async def test_answers_that_nobody_reads_are_cut_while_others_connect(
    fields: bytes, size: Size, held: Callable[[str], None]
) -> None:
    async with served(code=BOUNDED.format(size.bound)) as process:
        (await process.opened()).close()
        before, open_before, most = resident(process), descriptors(process), size.bound + ROOM
        for _ in range(size.sockets):
            client = await process.client(receive_buffer=4096)
            await client.send(ASKED % fields * 40)
        seconds = await connect_seconds(process, size.connects)
        memory, p99 = resident(process) - before, seconds[int(0.99 * len(seconds))]
        cut = await descriptors_fall_to(process, open_before, 3 * most)
        held(
            f"{size.sockets} that do not read: all cut after {cut:.1f} s (bound {size.bound:g}); connects meanwhile: "
            f"p99 {p99:.3f} s; memory +{memory / MIB:.0f} MiB"
        )


MODES = {"head": "-H", "body": "-B", "answer": "-X -w 10 -y 20 -n 1 -z 5 -k 1"}


@pytest.mark.abuse
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.gen_test(timeout=120)
async def test_slowhttptest_takes_no_service_away(
    mode: str, need_program: Callable[[str], str], held: Callable[[str], None]
) -> None:
    async with served() as process:
        url = f"http://127.0.0.1:{process.port}/openapi.json"
        options = [*MODES[mode].split(), "-c", "5000", "-r", "500", "-i", "1", "-l", "25", "-p", "3", "-u", url]
        tool = await asyncio.create_subprocess_exec(need_program("slowhttptest"), *options, stdout=PIPE)
        said = asyncio.create_task(tool.communicate())
        seconds: list[float] = []
        while not said.done():
            seconds += await connect_seconds(process, 10)
            await asyncio.sleep(0.5)
        (report, _), p99 = said.result(), sorted(seconds)[int(0.99 * len(seconds))]
        assert b"YES" in report.rpartition(b"service available:")[2]
        assert p99 < 1
        held(f"slowhttptest {MODES[mode]}: {len(seconds)} connects meanwhile, p99 {p99:.3f} s")

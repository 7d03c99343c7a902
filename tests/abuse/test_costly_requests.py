"""Attack: requests made to cost the server more than who sends them, without any credential.

Bodies in chunks of a byte, heads that grow by a byte, heads full of what takes long to read; bodies that nobody wants.
"""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import pytest

from abuse_process import MIB, descriptors, descriptors_fall_to, resident
from abuse_support import sizes
from client_support import Client
from serve_support import Process, served
from tornado_sse.listener import MAX_HEADER

HEAD = b"GET /sse/connect/s1 HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"POST /sse/publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
FIELDS = HEAD + b"".join(b"%x:\r\n" % number for number in range(9000)) + b"\r\n"


FORGOTTEN = 60.0
"""Seconds after which nothing is left of those who are gone. Much of what they sent may still be unread."""


class Way(NamedTuple):
    """What is sent at first, and then again and again, every so many seconds."""

    first: bytes
    then: bytes
    every: float


WAYS = {
    "chunks of a byte": Way(CHUNKED, b"1\r\na\r\n" * 10_000, 0),
    "a head that grows by a byte": Way(HEAD + b"X: " + b"a" * 60_000, b"a", 0.01),
    "a head that grows by a byte in a line of its own": Way(HEAD + b"a\n" * 30_000, b"a", 0.01),
    "heads of thousands of fields": Way(b"", FIELDS, 0),
}


class Size(NamedTuple):
    attackers: int
    seconds: float


async def attack(process: Process, way: Way) -> None:
    """Keep the server busy; whoever is cut comes back."""
    while True:
        client = await Client.to(process.port)
        with suppress(OSError, TimeoutError):
            try:
                await client.send(way.first)
                while True:
                    await client.send(way.then)
                    await asyncio.sleep(way.every)
            finally:
                client.close()


@sizes(short=Size(5, 1), long=Size(100, 20))
@pytest.mark.parametrize("name", WAYS)
@pytest.mark.gen_test(timeout=300)
async def test_others_are_answered_in_their_turn(name: str, size: Size, held: Callable[[str], None]) -> None:
    async with served() as process:
        assert (await process.ask("/healthz")).status == 200
        process.close_clients()
        before = descriptors(process)
        attackers = [asyncio.create_task(attack(process, WAYS[name])) for _ in range(size.attackers)]
        began, seconds = time.monotonic(), []
        while time.monotonic() - began < size.seconds:
            start = time.monotonic()
            assert (await process.ask("/healthz")).status == 200
            seconds.append(time.monotonic() - start)
            await asyncio.sleep(0.01)
        for attacker in attackers:
            attacker.cancel()
        await asyncio.gather(*attackers, return_exceptions=True)
        await descriptors_fall_to(process, before, FORGOTTEN)
        seconds.sort()
        held(
            f"{size.attackers} with {name}: {len(seconds)} others answered meanwhile, median "
            f"{seconds[len(seconds) // 2]:.3f} s, p99 {seconds[int(0.99 * len(seconds))]:.3f} s"
        )


def filled(before: str, part: str, after: str = "") -> bytes:
    """A head of the largest size that is read, made of one part again and again."""
    room = MAX_HEADER - len(HEAD) - len(before) - len(after) - 100
    return HEAD + f"{before}{part * (room // len(part))}{after}\r\n\r\n".encode("latin-1")


def instead(word: bytes, before: bytes, part: bytes) -> bytes:
    """A head in which that word is replaced by so much."""
    return HEAD.replace(word, before + part * (60_000 // len(part))) + b"\r\n"


HEADS = {
    "cookies": filled("Cookie: ", "a=b; "),
    "cookies in quotes": filled("Cookie: ", 'a="\\"'),
    "a cookie of escapes": filled('Sec-Fetch-Site: same-origin\r\nCookie: __Host-sse="', "\\1", '"'),
    "fields": filled("", "a:\r\n"),
    "folded lines": filled("X: a", "\r\n b"),
    "a field": filled("X: ", "x"),
    "blanks": filled("X: ", " \t"),
    "line feeds": filled("", "a\n"),
    "carriage returns": filled("X: ", "\r"),
    "a host": instead(b"localhost", b"", b"a."),
    "an origin": filled("Origin: http://", "a"),
    "codings": filled("Accept-Encoding: ", "x,"),
    "a token": filled("Authorization: Bearer ", "x"),
    "blanks before a token": filled("Authorization: Bearer ", " ", "x y"),
    "addresses": filled("X-Forwarded-For: ", "127.0.0.1,"),
    "a path of escapes": instead(b"s1", b"", b"%41"),
    "an argument of escapes": instead(b"s1", b"s1?channel=", b"%41"),
    "channels": instead(b"s1", b"s1?", b"channel=a&"),
    "channels that are long": instead(b"s1", b"s1?", b"channel=" + b"%41" * 60 + b"&"),
    "ampersands": instead(b"s1", b"s1?", b"&"),
}


@sizes(short=2, long=50)
@pytest.mark.gen_test(timeout=120)
async def test_no_head_takes_long_to_read(size: int, held: Callable[[str], None]) -> None:
    async with served(query_token=True, trusted_proxies="127.0.0.0/8") as process:
        cost: dict[str, float] = {}
        for name, head in HEADS.items():
            assert MAX_HEADER / 2 < len(head) < MAX_HEADER
            used = process.cpu_seconds()
            for _ in range(size):
                client = await process.client()
                await client.send(head)
                answer = await client.read()
                assert re.match(rb"HTTP/1.1 40[013] ", answer), name
                client.close()
            cost[name] = (process.cpu_seconds() - used) / size * 1000
        worst = max(cost, key=lambda name: cost[name])
        held(f"{len(HEADS)} heads of 64 KiB: at most {cost[worst]:.0f} ms of a core ({worst})")


METHODS = ("POST", "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
PATHS = ("/sse/publish", "/sse/sessions", "/healthz", "/nothing")
BODY = 8 * MIB
KEPT = MIB // 4
"""What a connection may cost while its body is read."""


async def upload(process: Process, method: str, path: str) -> Client:
    """Send all of a large body but its last byte, as far as the server takes it."""
    client = await process.client()
    await client.request(path, {"Content-Length": str(BODY)}, method=method)
    with suppress(ConnectionError):
        for _ in range(BODY // KEPT - 1):
            await client.send(bytes(KEPT))
        await client.send(bytes(KEPT - 1))
    return client


@sizes(short=1, long=4)
@pytest.mark.gen_test(timeout=300)
async def test_bodies_of_strangers_are_not_kept(size: int, held: Callable[[str], None]) -> None:
    async with served() as process:
        ways = [(method, path) for method in METHODS for path in PATHS] * size
        before, memory = resident(process), []
        for method, path in ways:
            await upload(process, method, path)
            memory.append(resident(process) - before)
        assert max(memory) < len(ways) * KEPT + 4 * MIB
        for client in process.clients:
            client.close()
        assert (await process.ask("/healthz")).status == 200
        held(f"{len(ways)} bodies of 8 MiB without a credential: memory +{max(memory) / MIB:.1f} MiB at most")

"""Attack: more streams than an address may have, by making the address up in headers that only a proxy may write."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from abuse_support import sizes
from client_support import Client
from serve_support import Process, served
from server_support import token

PROXY, CLIENT, CAP = "127.0.0.9", "127.0.0.1", 3
HEADERS = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP", "Via")


async def connect(process: Process, source: str, headers: dict[str, str], bearer: str | None = None) -> int:
    """Ask for a stream from that address of loopback; return the status. The stream stays open."""
    connection = socket.socket()
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", process.port))
    connection.setblocking(False)
    client = Client(connection)
    process.clients.append(client)
    auth = {"Authorization": f"Bearer {bearer}"} if bearer else process.bearer()
    await client.request("/sse/connect/s1", auth | headers)
    return (await client.response()).status


@asynccontextmanager
async def capped(**settings: object) -> AsyncIterator[Process]:
    async with served(max_streams_per_user=0, max_streams_per_address=CAP, **settings) as process:
        yield process


@pytest.mark.gen_test(timeout=60)
async def test_an_address_made_up_in_a_header_gives_no_stream_more() -> None:
    async with capped(trusted_proxies=PROXY) as process:
        for number in range(CAP):
            made_up = dict.fromkeys(HEADERS, f"198.51.100.{number}")
            assert await connect(process, CLIENT, made_up) == 200
        for number in range(100):
            made_up = dict.fromkeys(HEADERS, f"203.0.113.{number}")
            assert await connect(process, CLIENT, made_up) == 429
        assert await connect(process, CLIENT, {"X-Forwarded-For": PROXY}) == 429
        assert await connect(process, "127.0.0.2", {}) == 200, "another address has its own"


@pytest.mark.gen_test(timeout=60)
async def test_behind_a_trusted_proxy_the_address_that_it_saw_counts_whatever_the_client_wrote() -> None:
    async with capped(trusted_proxies=PROXY) as process:
        for number in range(10):
            written = ["198.51.100.7", PROXY, f"203.0.113.{number}", "not an address", ""][number % 5]
            status = await connect(process, PROXY, {"X-Forwarded-For": f"{written}, 192.0.2.1"})
            assert status == (200 if number < CAP else 429)
        assert await connect(process, PROXY, {"X-Forwarded-For": "192.0.2.1, 192.0.2.2"}) == 200


@sizes(short=100, long=5000)
@pytest.mark.gen_test(timeout=120)
async def test_who_has_all_streams_is_refused_before_the_token_is_looked_at(
    size: int, held: Callable[[str], None]
) -> None:
    bad = token(ttl=3600)[:-4] + "AAAA"

    async def cost(process: Process, status: int) -> float:
        """Knock with a bad token again and again; return the processor time of each, in microseconds."""
        used = process.cpu_seconds()
        for _ in range(size):
            assert await connect(process, CLIENT, {}, bad) == status
            process.clients.pop().close()
        return (process.cpu_seconds() - used) / size * 1e6

    async with capped() as process:
        verified = await cost(process, 401)
        for _ in range(CAP):
            assert await connect(process, CLIENT, {}) == 200
        held(f"{size} bad tokens: {verified:.0f} µs each, and {await cost(process, 429):.0f} µs at the address's cap")

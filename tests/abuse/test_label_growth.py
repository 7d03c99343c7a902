"""The attack: clients that never call themselves, their sessions, or what they ask for, the same twice.

Each name that became a label would be a time series for ever, here and in Prometheus.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from urllib.parse import quote

import pytest

from abuse_process import MIB, resident
from abuse_support import sizes
from client_support import Client
from serve_support import Process, served
from server_support import bearer

CLIENTS = 10
ROOM = 64 * MIB
METHODS = ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "BREW"]
PATHS = [
    "/sse/connect/{}?channel={}",
    "/sse/disconnect/{}?{}",
    "/sse/sessions/{}/refresh?{}",
    "/sse/send?userId={}&message={}",
    "/sse/publish?{}{}",
    "/{}/{}",
]


async def series(process: Process) -> set[str]:
    """Every series that is exported, without its value."""
    text = (await process.ask("/metrics", user=None, admin=True)).body.decode()
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def headers_of(random: Random, name: str) -> dict[str, str]:
    """Headers of a client that nobody has seen before; of four one is let in."""
    headers = {
        "User-Agent": name,
        "Host": f"{name}.example",
        "Referer": f"https://{name}.example/",
        "X-Forwarded-For": f"10.{random.randrange(256)}.{random.randrange(256)}.1",
        "Last-Event-ID": name,
    }
    if random.random() < 0.5:  # the other half is turned away by what it lacks
        headers |= bearer(name, channels=[name], scopes=[random.choice(["subscribe", "publish", name])])
    if random.random() < 0.1:
        headers["Origin"] = f"https://{name}.example"
    return headers


async def wander(process: Process, seed: int, requests: int) -> None:
    """Have so many requests answered, no two alike."""
    random = Random(seed)  # noqa: S311 - it chooses what to try
    client, answered = await Client.to(process.port), 0
    while answered < requests:
        name = f"n{seed}-{answered}-{random.getrandbits(32):x}"
        target = random.choice(PATHS).format(quote(name), quote(name + random.choice(["", "é", "😀", "%"])))
        answer = b""
        with suppress(ConnectionError):
            await client.request(target, headers_of(random, name), method=random.choice(METHODS))
            answer = await client.read()
        answered += bool(answer)
        if not answer or b"\r\nConnection: close\r\n" in answer:
            client.close()
            client = await Client.to(process.port)
    client.close()


@sizes(short=1_000, long=100_000)
@pytest.mark.gen_test(timeout=900)
async def test_the_number_of_series_stays(size: int, held: Callable[[str], None]) -> None:
    async with served() as process:
        before = await series(process)
        await asyncio.gather(*(wander(process, seed, size // CLIENTS // 2) for seed in range(CLIENTS)))
        halfway = resident(process)
        await asyncio.gather(*(wander(process, seed, size // CLIENTS // 2) for seed in range(CLIENTS, 2 * CLIENTS)))
        growth = resident(process) - halfway
        after = await series(process)
        assert after == before
        assert growth < ROOM
    held(f"{size} random clients: {len(after)} series before and after; memory +{growth / MIB:.0f} MiB halfway on")

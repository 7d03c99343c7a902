"""Attack: a flood of reconnects with bad tokens beside many good streams, and who sends it is hidden or borrowed.

Each wants a signature checked, and an answer; addresses are made up in headers that only a proxy may write.
"""

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from statistics import median
from typing import NamedTuple

import pytest

from abuse_support import sizes
from client_support import Client
from serve_support import Process, served
from server_support import SECRET, token

KNOCKERS = 20


class Size(NamedTuple):
    streams: int
    rate: float
    seconds: float
    flood: float
    pairs: int
    room: float
    """Milliseconds that a p99 may differ by on a busy machine."""


async def bench(process: Process, size: Size) -> float:
    """Open the good streams, publish to them, and return the p99 of what they saw, in milliseconds."""
    options = {"--streams": size.streams, "--rate": size.rate, "--duration": size.seconds, "--jwt-secret": SECRET}
    words = [str(word) for option in options.items() for word in option]
    command = ["-m", "tornado_sse", "bench", f"http://127.0.0.1:{process.port}", "--json", *words]
    tool = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE)
    said, _ = await tool.communicate()
    assert tool.returncode == 0, said
    return float(json.loads(said)["latency_ms"]["p99"])


async def knock(process: Process, every: float, answers: Counter[int]) -> None:
    """Come back with a token whose signature is wrong, again and again."""
    bad = token(ttl=3600)[:-4] + "AAAA"
    while True:
        client = await Client.to(process.port)
        try:
            await client.request("/sse/connect/s1", {"Authorization": f"Bearer {bad}"})
            answers[(await client.response()).status] += 1
        finally:
            client.close()
        await asyncio.sleep(every)


@asynccontextmanager
async def flood(process: Process, rate: float) -> AsyncIterator[Counter[int]]:
    """Have about `rate` bad tokens a second come in while the block runs; gives the answers by status."""
    answers: Counter[int] = Counter()
    knockers = [asyncio.create_task(knock(process, KNOCKERS / rate, answers)) for _ in range(KNOCKERS)]
    try:
        yield answers
    finally:
        for knocker in knockers:
            knocker.cancel()
        for outcome in await asyncio.gather(*knockers, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome


@sizes(short=Size(50, 20, 0.5, 100, 1, 5000), long=Size(10_000, 1, 10, 500, 3, 20))
@pytest.mark.gen_test(timeout=900)
async def test_a_flood_of_bad_tokens_delays_the_good_streams_little(size: Size, held: Callable[[str], None]) -> None:
    async with served() as process:
        quiet, loud, refused, seconds = [], [], 0, 0.0
        for _ in range(size.pairs):
            quiet.append(await bench(process, size))
            start = time.monotonic()
            async with flood(process, size.flood) as answers:
                loud.append(await bench(process, size))
            seconds += time.monotonic() - start
            refused += answers.total()
            assert answers.keys() == {401}
        before, during = median(quiet), median(loud)
        assert during < 2.5 * before + size.room
        held(
            f"{size.streams} streams, {refused / seconds:.0f} bad tokens a second: p99 {before:.1f} ms, "
            f"then {during:.1f} ms ({during / before:.2f})"
        )

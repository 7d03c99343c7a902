"""Attack: clients that open a stream and stop reading, or take a byte a second, while much is published.

Each would have the server keep for it what it does not take, or, in a server that waits for it, hold up the others.
"""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import pytest

from abuse_process import MIB, metric, publish, resident
from abuse_support import sizes
from client_support import Client, until
from serve_support import Process, served

OUTBOX = 262144
BULK: dict[str, object] = {"to": {"channel": "much"}, "data": "x" * 60_000}


class Size(NamedTuple):
    stopped: int
    healthy: int
    quiet: int
    bulk: int
    every: float
    room: float
    """Seconds that a p99 may differ by on a busy machine."""


class Crowd:
    """Clients that read all the time; `latencies` in seconds, of every message to each."""

    def __init__(self, process: Process, size: Size) -> None:
        self._process = process
        self._size = size
        self._tasks: list[asyncio.Task[None]] = []
        self.latencies: list[float] = []
        self.published = 0

    async def open(self, count: int) -> None:
        self._publisher = await self._process.client()
        for number in range(count):
            client = await self._process.opened(f"h{number}")
            self._tasks.append(asyncio.create_task(self._read(client)))

    async def publish(self, times: int) -> None:
        """Publish a message to these, and much to others."""
        bulk = [BULK] * self._size.bulk
        for _ in range(times):
            small = {"to": {"user": "u1"}, "data": {"at": time.monotonic()}}
            await publish(self._process, self._publisher, small, *bulk)
            self.published += len(self._tasks)
            await asyncio.sleep(self._size.every)

    async def take_p99(self) -> float:
        """Wait until everything published arrived, and return the p99 since the last time."""
        await until(lambda: len(self.latencies) == self.published)
        latencies, self.latencies, self.published = sorted(self.latencies), [], 0
        return latencies[int(0.99 * len(latencies))]

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _read(self, client: Client) -> None:
        while True:
            sent = json.loads(await client.data())["at"]
            self.latencies.append(time.monotonic() - sent)


async def trickle(clients: list[Client]) -> None:
    """Take a byte a second from each."""
    while True:
        await asyncio.sleep(1)
        for client in clients:
            with suppress(OSError):
                client.socket.recv(1)


@sizes(short=Size(10, 10, 30, 4, 0.02, 5), long=Size(200, 100, 100, 1, 0.1, 0.05))
@pytest.mark.gen_test(timeout=300)
async def test_clients_that_stop_reading_are_ended_and_cost_the_others_nothing(
    size: Size, held: Callable[[str], None]
) -> None:
    async with served(max_streams_per_user=0, history_size=10) as process:
        crowd = Crowd(process, size)
        await crowd.open(size.healthy)
        await crowd.publish(size.quiet)
        before, quiet = resident(process), await crowd.take_p99()
        stopped = [
            await process.connect(f"s{number}", user="stops", query="?channel=much", receive_buffer=4096)
            for number in range(size.stopped)
        ]
        trickling = asyncio.create_task(trickle(stopped[::2]))
        memory, waiting, began = [before], [0.0], time.monotonic()
        while await metric(process, 'tornado_sse_streams_closed_total{reason="slow"}') < size.stopped:
            await crowd.publish(1)
            memory.append(resident(process))
            waiting.append(await metric(process, "tornado_sse_outbox_bytes"))
        seconds, loud, growth = time.monotonic() - began, await crowd.take_p99(), max(memory) - before
        trickling.cancel()
        crowd.close()
        assert max(waiting) <= size.stopped * OUTBOX
        assert growth < size.stopped * OUTBOX
        assert loud < 3 * quiet + size.room
        assert await metric(process, "tornado_sse_open_streams") == size.healthy
        held(
            f"{size.stopped} that stop beside {size.healthy}: all ended as slow in {seconds:.1f} s; outboxes at most "
            f"{max(waiting) / MIB:.1f} MiB, memory +{growth / MIB:.1f} MiB; p99 {quiet:.3f} s, then {loud:.3f} s"
        )

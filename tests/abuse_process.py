"""The process under attack, seen from outside: what it counts, what it takes, and what is published to it."""

import asyncio
import json
import time
from pathlib import Path

from client_support import Client
from serve_support import Process

MIB = 1 << 20


async def metric(process: Process, sample: str) -> float:
    """Read a sample by its full name, labels included; 0 if there is none."""
    lines = (await process.ask("/metrics", user=None, admin=True)).body.decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), 0.0)


async def publish(process: Process, publisher: Client, *items: dict[str, object]) -> None:
    """Publish these with one request, on a connection that stays."""
    body = json.dumps(items).encode()
    head = process.bearer() | {"Content-Type": "application/json", "Content-Length": str(len(body))}
    await publisher.request("/sse/publish", head, method="POST")
    await publisher.send(body)
    assert (await publisher.response()).status == 200


def resident(process: Process) -> int:
    """Bytes of memory that the process has of its own; the kernel's buffers for its sockets are not among them."""
    lines = Path(f"/proc/{process.running.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def descriptors(process: Process) -> int:
    """How many the process has open."""
    return sum(1 for _ in Path(f"/proc/{process.running.pid}/fd").iterdir())


async def descriptors_fall_to(process: Process, most: int, seconds: float) -> float:
    """Wait until the process has no more than so many open, and return for how long."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while descriptors(process) > most:
            await asyncio.sleep(0.05)
    return time.monotonic() - began

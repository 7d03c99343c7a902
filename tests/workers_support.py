"""Several workers as real processes, and what can be seen of them from outside."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from client_support import Client
from serve_support import Process, program
from tornado_sse.metrics import PREFIX

START = 60.0
"""Seconds that all processes may take to start, on a machine that has other things to do."""

BODY = {"Content-Type": "application/json"}


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked for is dead."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return not re.search(r"\) Z ", Path(f"/proc/{pid}/stat").read_text())
    return False


def workers(process: Process) -> dict[int, int]:
    """The process ids of the workers, by number, as they were logged last."""
    return {line["worker"]: line["pid"] for line in process.logged("worker started")}


def broker(process: Process) -> int:
    """The process id of the private broker, as it was logged last."""
    return int(process.logged("private NATS started")[-1]["pid"])


def everyone(process: Process) -> list[int]:
    """All process ids below the supervisor."""
    private = [broker(process)] if process.logged("private NATS started") else []
    return [*workers(process).values(), *private]


@asynccontextmanager
async def crew(*flags: str, count: int = 2, **settings: Any) -> AsyncIterator[Process]:
    """Run it until it listens; whatever comes, nobody is left of it."""
    async with program(*flags, workers=count, **settings) as process:
        async with asyncio.timeout(START):
            while not process.port and process.running.returncode is None:
                await asyncio.sleep(0.01)
        assert process.port, process.log
        yield process
    assert not any(map(alive, everyone(process)))


async def publish(process: Process, data: str) -> int:
    """Publish to all; return the answer's status."""
    body = json.dumps({"to": "all", "data": data}).encode()
    return (await process.ask("/sse/publish", BODY, method="POST", body=body)).status


async def figure(process: Process, name: str, *, hanging: int = 0) -> dict[str, float]:
    """Ask for a metric of all workers, by their numbers, until all answer but those that hang: some may be busy."""
    async with asyncio.timeout(START):
        while True:
            text = (await process.ask("/metrics", user=None, admin=True)).body.decode()
            up = _figure(text, "worker_up")
            if sum(up.values()) >= len(up) - hanging:
                return _figure(text, name)


def _figure(text: str, name: str) -> dict[str, float]:
    return {
        sample.labels["worker"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == PREFIX + name
    }


async def streams_everywhere(process: Process) -> list[Client]:
    """Open streams until every worker has one: the kernel deals connections out by chance."""
    clients: list[Client] = []
    while len(clients) < 30:
        clients.append(await process.opened(f"s{len(clients)}"))
        if all((await figure(process, "open_streams")).values()):
            return clients
    raise AssertionError("one worker gets no connection")


async def until_ready(process: Process) -> None:
    """Wait until every worker is ready."""

    while not all((await figure(process, "ready")).values()):
        pass

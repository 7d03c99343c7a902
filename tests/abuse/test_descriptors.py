"""Fault: the process has no descriptor left, while a crowd waits to be accepted.

A server that tries again at once spins at full processor time, and writes a line for each try.
"""

import asyncio
import resource
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

from abuse_process import descriptors, publish
from abuse_support import sizes
from serve_support import Process, served


class Size(NamedTuple):
    streams: int
    crowd: int
    seconds: float


def allow(process: Process, descriptors: int) -> None:
    """Let the running process have so many, as prlimit does."""
    pid, hard = process.running.pid, resource.prlimit(process.running.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, hard))


@sizes(short=Size(20, 50, 1.5), long=Size(2000, 3000, 30))
@pytest.mark.gen_test(timeout=300)
async def test_without_descriptors_streams_go_on_and_accepting_comes_back(
    size: Size, held: Callable[[str], None]
) -> None:
    async with served(max_streams_per_user=0) as process:
        before = resource.prlimit(process.running.pid, resource.RLIMIT_NOFILE)[0]
        streams = [await process.opened(f"s{number}") for number in range(size.streams)]
        publisher = await process.client()
        await publish(process, publisher, {"to": "all", "data": "before"})
        allow(process, descriptors(process))
        crowd = [await process.client() for _ in range(size.crowd)]
        await process.until_logged("not accepting connections")
        used, start = process.cpu_seconds(), time.monotonic()
        published = ["before"]
        while time.monotonic() - start < size.seconds:
            await asyncio.sleep(0.5)
            published.append(str(len(published)))
            await publish(process, publisher, {"to": "all", "data": published[-1]})
        for stream in streams:
            assert [await stream.data() for _ in published] == published
        seconds, lines = time.monotonic() - start, process.logged("not accepting connections")
        share = (process.cpu_seconds() - used) / seconds
        for client in crowd:
            client.reset()
        allow(process, before)
        restored = time.monotonic()
        assert (await process.ask("/healthz")).status == 200
        back = time.monotonic() - restored
        assert len(lines) <= seconds + 1
        assert share < 0.2
        held(
            f"{size.streams} streams, {size.crowd} waiting, {seconds:.0f} s without descriptors: {len(lines)} log "
            f"lines, {share:.1%} of a core; accepting again after {back:.2f} s"
        )

"""Draining: how a node lets its streams go, evenly over a time, so that they come back elsewhere evenly too."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice

from tornado_sse.notices import CloseReason
from tornado_sse.registry import Registry
from tornado_sse.slices import in_slices

STEP = 0.05
"""Seconds between two steps."""

SHARE = 0.9
"""Part of the time over which streams are closed; the rest is for farewells to leave."""


def closed_by(total: int, elapsed: float, duration: float) -> int:
    """Tell how many of `total` streams are to be closed `elapsed` seconds into a drain of `duration` seconds."""
    share = duration * SHARE
    return total if elapsed >= share else min(total, int(total * elapsed / share) + 1)


async def drain(registry: Registry, duration: float, clock: Callable[[], float]) -> None:
    """Close all streams with a farewell and a jittered time to reconnect, the oldest first."""
    started = clock()
    streams = iter(list(registry.hub.streams))
    total = len(registry.hub.streams)
    closed = 0

    def close(count: int) -> Iterator[None]:
        for stream in islice(streams, count):
            stream.close(CloseReason.DRAINING, registry.retry())
            yield

    while (registry.hub.streams and closed < total) or (registry.farewells and clock() - started < duration):
        due = closed_by(total, clock() - started, duration)
        await in_slices(close(due - closed), clock)
        closed = due
        await asyncio.sleep(STEP)

"""Draining: how a node lets its streams go, evenly over a time, so that they come back elsewhere evenly too."""

import asyncio
from collections.abc import Callable

from tornado_sse.notices import CloseReason
from tornado_sse.registry import Registry

STEP = 0.05
"""Seconds between two steps."""

AT_ONCE = 8
"""Streams closed in one turn of the loop: each takes 0.2 ms."""

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
    while (registry.hub.streams and closed < total) or (registry.farewells and clock() - started < duration):
        due = closed_by(total, clock() - started, duration)
        for number in range(due - closed):
            next(streams).close(CloseReason.DRAINING, registry.retry())
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        closed = due
        await asyncio.sleep(STEP)

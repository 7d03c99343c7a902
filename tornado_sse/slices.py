"""Long work on the loop, a slice at a time."""

import asyncio
from collections.abc import Callable, Iterator

from tornado_sse.steps import PAUSE, SLICE, make_until


async def in_slices(steps: Iterator[object], clock: Callable[[], float]) -> None:
    """Make all steps, with turns for everything else after each slice."""
    while make_until(steps, clock, clock() + SLICE):
        await pause()


async def pause() -> None:
    """Let everything else have its turns."""
    for _ in range(1 + PAUSE):
        await asyncio.sleep(0)

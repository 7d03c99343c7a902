"""Work done again and again, by the loop's own clock: one that nobody sets.

Tornado's PeriodicCallback goes by unix time: set back an hour, it would stand still for as long.
"""

import asyncio
from collections.abc import Callable, Coroutine
from math import floor


class Ticker:
    """Calls `work` every `interval` seconds, first after one of them.

    Calls that are missed are left out, and none begins while what the last one returned, if it is a coroutine, runs.
    """

    def __init__(self, work: Callable[[], Coroutine[None, None, None] | None], interval: float) -> None:
        self.interval = interval
        self._work = work
        self._due = 0.0
        self._next: asyncio.TimerHandle | None = None
        self._working: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not stopped."""
        return self._next is not None

    def start(self) -> None:
        """Begin, in the running loop."""
        self._due = asyncio.get_running_loop().time()
        self._schedule()

    def stop(self) -> None:
        """Call no more; a coroutine that runs is left to end by itself."""
        if self._next:
            self._next.cancel()
            self._next = None

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._due += self.interval * (floor(max(0.0, loop.time() - self._due) / self.interval) + 1)
        self._next = loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._schedule()
        if self._working is None and (begun := self._work()):
            self._working = asyncio.ensure_future(begun)
            self._working.add_done_callback(self._worked)

    def _worked(self, _: "asyncio.Task[None]") -> None:
        self._working = None

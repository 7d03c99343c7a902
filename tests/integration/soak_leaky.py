"""A server that forgets to cancel: a timer for each stream stays. A fault for tests of tests."""

import asyncio
from typing import Any

import soak_server
from tornado_sse.registry import Registry
from tornado_sse.stream import Stream

HOUR = 3600.0
EVERY = 50
"""It is one stream in so many that leaks."""


class Leaky(Registry):
    """Opens streams, and has a timer for some."""

    def open(self, *taken: Any, **what: Any) -> Stream:
        stream = super().open(*taken, **what)
        if self.stats.streams_opened % EVERY == 0:
            asyncio.get_running_loop().call_later(HOUR, int)
        return stream


if __name__ == "__main__":
    from tornado_sse import node

    vars(node)["Registry"] = Leaky
    soak_server.main()

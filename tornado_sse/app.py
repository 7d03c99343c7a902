"""The composition root: builds one server out of its parts, the only place that knows concrete brokers.

In an application of one's own:

    events = EventServer(Settings(jwt_secret=...))
    application.add_handlers(r".*", events.routes())
    await events.publish({"user": "u1"}, {"order": 7})
"""

import time
from collections.abc import Callable

from tornado.routing import URLSpec

from tornado_sse.brokers.base import Broker
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.config import Settings
from tornado_sse.handlers.routes import admin_routes, public_routes
from tornado_sse.history import History
from tornado_sse.node import Node
from tornado_sse.registry import Clocks

REAL_TIME = Clocks(time.monotonic, time.time)


class EventServer(Node):
    """One node with its routes: everything but the sockets that listen.

    To be made behind any fork, and used on one event loop.

    `broker` None: the one that the settings name. `clocks` are for tests. Raises KeyProblem for keys that are no good.
    """

    def __init__(self, settings: Settings, broker: Broker | None = None, clocks: Clocks = REAL_TIME) -> None:
        super().__init__(settings, broker or _memory_broker(settings, clocks.monotonic), clocks)

    def routes(self) -> list[URLSpec]:
        """Return the rules of the public operations, for a `tornado.web.Application`."""
        return public_routes(self)

    def admin_routes(self) -> list[URLSpec]:
        """Return the rules of the admin listener."""
        return admin_routes(self)


def _memory_broker(settings: Settings, clock: Callable[[], float]) -> MemoryBroker:
    history = History(
        size=settings.history_size, ttl=settings.history_ttl, max_bytes=settings.history_bytes, clock=clock
    )
    return MemoryBroker(
        history, idempotency_window=settings.idempotency_window, idempotency_keys=settings.idempotency_keys, clock=clock
    )

"""The console: a node of its own, whose messages are the figures of the server that it watches.

So a page that was away gets what it missed, as of any node; and its streams are in nobody's figures.
"""

from contextlib import suppress

from tornado_sse.auth import Authenticator
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.config import Settings
from tornado_sse.console.figures import Samples, between
from tornado_sse.console.operations import Operations
from tornado_sse.errors import Unavailable
from tornado_sse.history import History
from tornado_sse.node import Node
from tornado_sse.position import Position
from tornado_sse.registry import Clocks
from tornado_sse.stats import Stats
from tornado_sse.ticker import Ticker

INTERVAL = 1.0
"""Seconds between two looks."""

KEPT = 300
"""Figures that a page gets when it opens: five minutes."""

_OWN: dict[str, object] = {
    "history_size": KEPT,
    "history_ttl": 2 * KEPT * INTERVAL,
    "keepalive": 5.0,
    "retry": 1.0,
    "compression": False,
    "allowed_origins": [],
    "query_token": False,
    "max_streams": 0,
    "max_streams_per_user": 0,
    "max_streams_per_address": 0,
}
"""Settings that are not those of the server."""


class Console(Node):
    """Publishes an event `figures` every second. Raises KeyProblem for keys that are no good.

    `settings` are those of the server: of these the keys, issuer and audience of admins' tokens count, unless there is
    an `authenticator` to share.
    """

    def __init__(
        self, settings: Settings, operations: Operations, clocks: Clocks, authenticator: Authenticator | None = None
    ) -> None:
        own = settings.model_copy(update=_OWN)
        history = History(
            size=own.history_size, ttl=own.history_ttl, max_bytes=own.history_bytes, clock=clocks.monotonic
        )
        broker = MemoryBroker(history, idempotency_window=0, clock=clocks.monotonic)
        super().__init__(own, broker, clocks, Stats(), authenticator)
        self.operations = operations
        self._looking = Ticker(self.look, INTERVAL)
        self._before: Samples = {}
        self._looked_at = 0.0
        self._told = 0

    async def start(self) -> None:
        """Join the running event loop, and begin to look."""
        await super().start()
        if not self._looking.is_running:
            self._looking.start()

    async def close(self) -> None:
        """Look no more."""
        self._looking.stop()
        await super().close()

    def reload(self, settings: Settings) -> None:
        """Take new keys. Raises KeyProblem, then all stays as it was."""
        super().reload(settings.model_copy(update=_OWN))

    @property
    def since(self) -> str:
        """The position from which a page gets everything that is kept."""
        return str(Position(self.broker.epoch, max(0, self._told - KEPT)))

    async def look(self) -> None:
        """Look, and tell what happened since the last time."""
        now = self.clocks.monotonic()
        samples = await self.operations.samples()
        figures = between(self._before, samples, max(now - self._looked_at, INTERVAL / 10), self.clocks.wall())
        self._before, self._looked_at = samples, now
        with suppress(Unavailable):  # closed meanwhile
            await self.publish("all", figures, event="figures")
            self._told += 1

"""The composition root: builds one server out of its parts, the only place that knows concrete brokers.

In an application of one's own:

    events = EventServer(Settings(jwt_secret=...))
    application.add_handlers(r".*", events.routes())
    await events.publish({"user": "u1"}, {"order": 7})
"""

import time
from collections.abc import Callable
from types import ModuleType

from tornado.routing import URLSpec

from tornado_sse.brokers.base import Broker
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.config import ConfigProblem, Settings
from tornado_sse.console.local import LocalOperations
from tornado_sse.console.node import Console
from tornado_sse.handlers.console import console_routes
from tornado_sse.handlers.routes import admin_routes, public_routes
from tornado_sse.history import History
from tornado_sse.node import Node
from tornado_sse.publishing import Limits
from tornado_sse.registry import Clocks
from tornado_sse.stats import Stats
from tornado_sse.values import is_redis

TOPICS_REMEMBERED = 1_000_000
"""Topics whose newest sequence Redis keeps. Who comes back to another, a quieter one, may be told of a gap in vain."""

REAL_TIME = Clocks(time.monotonic, time.time)


class EventServer(Node):
    """One node with its routes: everything but the sockets that listen.

    To be made behind any fork, and used on one event loop.

    `broker` None: the one that the settings name. `clocks` are for tests. Raises KeyProblem for keys that are no good,
    and ConfigProblem if something that the settings want is not installed.
    """

    def __init__(self, settings: Settings, broker: Broker | None = None, clocks: Clocks = REAL_TIME) -> None:
        stats = Stats()
        super().__init__(settings, broker or _broker(settings, clocks, stats), clocks, stats)
        if settings.tracing:
            self.registry.fanout.trace = _tracing().spans(clocks)
        self.operations = LocalOperations(self)
        self._console: Console | None = None

    def routes(self) -> list[URLSpec]:
        """Return the rules of the public operations, for a `tornado.web.Application`."""
        return public_routes(self)

    def admin_routes(self) -> list[URLSpec]:
        """Return the rules of the admin listener, the console's among them."""
        self._console = self._console or self._make_console()
        return admin_routes(self) + console_routes(self._console)

    async def start(self) -> None:
        """Join the running event loop. The handlers and `publish` do so by themselves when they are first used."""
        await super().start()
        if self._console:
            await self._console.start()

    async def close(self) -> None:
        """Close every stream at once and leave the loop. The server can't be started again."""
        if self._console:
            await self._console.close()
        await super().close()

    def reload(self, settings: Settings) -> None:
        """Take new keys and limits; open streams stay. Raises KeyProblem, then all stays as it was."""
        super().reload(settings)
        if self._console:
            self._console.authenticator = self.authenticator

    def _make_console(self) -> Console:
        console = Console(self.settings, self.operations, self.clocks, self.authenticator)
        console.stats.auth_failures = self.stats.auth_failures  # who was not let in is one count
        return console


def export_spans() -> Callable[[], None]:
    """Export spans by OTLP; return what sends the last ones. Raises ConfigProblem if the extra is not there."""
    end: Callable[[], None] = _tracing().export()
    return end


def _tracing() -> ModuleType:
    try:
        from tornado_sse import tracing  # noqa: PLC0415 - an extra that may not be there
    except ImportError as error:
        raise ConfigProblem([f"tracing needs more: pip install '.[otel]' in a checkout ({error})"]) from error
    return tracing


def _broker(settings: Settings, clocks: Clocks, stats: Stats) -> Broker:
    if settings.broker is None:
        return _memory_broker(settings, clocks.monotonic)
    extra, make = ("redis", _redis_broker) if is_redis(settings.broker) else ("nats", _nats_broker)
    try:
        return make(settings, clocks, stats)
    except ImportError as error:
        raise ConfigProblem([f"the broker needs more: pip install '.[{extra}]' in a checkout ({error})"]) from error
    except OSError as error:
        raise ConfigProblem([f"a file for the broker can't be used: {error}"]) from error


def _nats_broker(settings: Settings, clocks: Clocks, stats: Stats) -> Broker:
    from tornado_sse.brokers.nats.broker import NatsBroker  # noqa: PLC0415 - an extra that may not be there
    from tornado_sse.brokers.nats.layout import Layout  # noqa: PLC0415 - same
    from tornado_sse.brokers.nats.login import servers  # noqa: PLC0415 - same
    from tornado_sse.brokers.nats.scribe import Scribe  # noqa: PLC0415 - same

    wanted = Layout(
        settings.broker_prefix,
        size=settings.history_size,
        ttl=settings.history_ttl,
        max_bytes=settings.history_bytes,
        window=settings.idempotency_window,
        replicas=settings.broker_replicas,
    )
    scribe = Scribe(Limits(settings.max_message_bytes, 1), stats, clocks.monotonic, clocks.wall)
    return NatsBroker(servers(settings), wanted, scribe, probe=settings.broker_probe, stats=stats)


def _redis_broker(settings: Settings, clocks: Clocks, stats: Stats) -> Broker:
    from tornado_sse.brokers.redis.broker import RedisBroker  # noqa: PLC0415 - an extra that may not be there
    from tornado_sse.brokers.redis.login import engine  # noqa: PLC0415 - same
    from tornado_sse.brokers.redis.session import Terms  # noqa: PLC0415 - same

    terms = Terms(
        settings.broker_prefix,
        size=settings.history_size,
        age=settings.history_ttl,
        window=settings.idempotency_window,
        keys=settings.idempotency_keys,
        topics=TOPICS_REMEMBERED,
        probe=settings.broker_probe,
    )
    return RedisBroker(engine(settings), terms, stats=stats, clock=clocks.monotonic)


def _memory_broker(settings: Settings, clock: Callable[[], float]) -> MemoryBroker:
    history = History(
        size=settings.history_size,
        ttl=settings.history_ttl,
        max_bytes=settings.history_bytes,
        clock=clock,
        compression=settings.compression,
    )
    return MemoryBroker(
        history, idempotency_window=settings.idempotency_window, idempotency_keys=settings.idempotency_keys, clock=clock
    )

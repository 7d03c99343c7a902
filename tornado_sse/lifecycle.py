"""The life of a server process: listening, signals, draining, exit codes."""

import asyncio
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from enum import IntEnum
from typing import Any

from tornado_sse import __version__
from tornado_sse.app import EventServer, export_spans
from tornado_sse.brokers.base import BrokerProblem
from tornado_sse.canary import Canary
from tornado_sse.config import ConfigProblem, Settings
from tornado_sse.drain import drain
from tornado_sse.errors import Unavailable
from tornado_sse.handlers.routes import application
from tornado_sse.keys import KeyProblem
from tornado_sse.listener import Listener
from tornado_sse.log import logger
from tornado_sse.systemd import ServiceManager
from tornado_sse.tokens import sign

AT_START = (
    *("host", "port", "admin_host", "admin_port", "reuse_port", "workers", "dev", "log_level", "log_format"),
    *("jwks_url", "keepalive", "retry", "disconnect_hold", "canary", "tracing"),
    *("history_size", "history_ttl", "history_bytes", "idempotency_window", "idempotency_keys"),
    *("broker", "broker_prefix", "broker_replicas", "broker_probe", "broker_user", "broker_password", "broker_token"),
    *("broker_creds", "broker_nkey", "broker_ca", "broker_cert", "broker_key"),
)
"""Settings that are read when the process starts, and that a reload does not change."""

DEV_TOKEN = 12 * 3600
"""Seconds that the link to the console is good for, in dev mode."""

LAST_ANSWERS = 5.0
"""Most seconds, after the drain, until requests that are under way are cut: a publish may wait for its broker."""

RELOAD_REFUSED = "reload refused, all stays as it was"


class Exit(IntEnum):
    """What the process ends with."""

    DRAINED = 0
    """Told to stop, and every stream had its farewell."""
    FAILED = 1
    """An address can't be had, or the broker is out of reach."""
    REFUSED = 2
    """The settings or a key are no good, or the broker won't do."""
    CUT_SHORT = 3
    """Told to stop twice: ended before the drain was over."""


def serve(settings: Settings, reload: Callable[[], Settings]) -> int:
    """Run until told to stop; return the exit code. `reload` reads the settings anew at SIGHUP."""
    return live(lambda: Process(settings, reload, ServiceManager.named_in(os.environ, os.getpid())).run())


def live(life: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run the life of a process on an event loop of its own; return the exit code."""
    _raise_descriptor_limit()
    try:
        return asyncio.run(life())
    except (KeyProblem, ConfigProblem) as problem:
        logger().error("refused", problem=str(problem))
        return Exit.REFUSED


class Process:
    """One server, from its start to its end. A worker of several has other ends (see workers).

    `manager` None: nobody is told, and no socket was handed over.
    """

    def __init__(
        self, settings: Settings, reload: Callable[[], Settings], manager: ServiceManager | None = None
    ) -> None:
        self.settings = settings
        self.manager = manager or ServiceManager()
        self.server = EventServer(settings)
        self._end_tracing = export_spans() if settings.tracing else None
        self.server.operations.on_drain = lambda: self.drain("console")
        self._reload = reload
        self._stopping = asyncio.Event()
        self._cut_short = asyncio.Event()

    async def run(self) -> int:
        """Live it; return the exit code."""
        listeners = self.listen()
        if listeners is None:
            return Exit.FAILED
        self.watch()
        if problem := await self._start():
            for listener in listeners:
                await listener.close()
            return problem
        _calm_the_collector()
        for listener in listeners:
            listener.start()
        self.announce(*listeners)
        canary = self._begin_canary(listeners[0])
        await self._stopping.wait()
        code = await self._let_go()
        canary.cancel()
        for listener in listeners:
            listener.refuse()
        if code is Exit.DRAINED and self.server.answering:
            await asyncio.wait(self.server.answering, timeout=LAST_ANSWERS)
        for listener in listeners:
            await listener.close()
        await self.server.close()
        if self._end_tracing:
            await asyncio.to_thread(self._end_tracing)
        logger().info("stopped", code=int(code))
        return code

    async def _start(self) -> Exit | None:
        """Start the server; return what to exit with if that fails."""
        try:
            await self.server.start()
        except BrokerProblem as problem:
            logger().error("refused", problem=str(problem))
            return Exit.REFUSED
        except Unavailable as error:
            logger().error("broker out of reach", problem=error.message)
            return Exit.FAILED
        return None

    def _begin_canary(self, public: Listener) -> asyncio.Future[None]:
        interval, clock = self.settings.canary, self.server.clocks.monotonic
        if not interval:
            return asyncio.get_running_loop().create_future()
        return asyncio.create_task(Canary(self.server, public.host, public.port, clock).live(interval))

    def listen(self) -> Sequence[Listener] | None:
        """Take the addresses; None, and a line in the log: one can't be had."""
        server, settings, given = self.server, self.settings, self.manager
        host, port, setting, shared = settings.host, settings.port, "port", settings.reuse_port
        try:
            apps = application(server, server.routes()), application(server, server.admin_routes())
            stats = server.stats
            public = Listener(apps[0], host, port, reuse_port=shared, stats=stats, sockets=given.public)
            host, port, setting = settings.admin_host, settings.admin_port, "admin_port"
            return public, Listener(apps[1], host, port, stats=stats, sockets=given.admin)
        except OSError as error:
            cant_listen(error, host, port, setting)
            return None

    def announce(self, *listeners: Listener) -> None:
        """Say that it listens."""
        public, admin = (listener.url for listener in listeners)
        logger().info("listening", public=public, admin=admin, version=__version__, dev=self.settings.dev)
        if self.settings.reuse_port and self.settings.broker is None:
            logger().warning("without a broker processes on one port share no messages: replace one, do not add one")
        if self.settings.dev:
            print_links(public, admin, self.settings)
        self.manager.ready(f"listening at {public}")

    def watch(self) -> None:
        """Obey signals."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._take_new_settings)

    def drain(self, why: str) -> None:
        """Begin to let go of all streams, once."""
        if not self._stopping.is_set():
            streams, seconds = len(self.server.registry.hub.streams), self.server.settings.drain_time
            logger().info("draining", signal=why, streams=streams, seconds=seconds)
            self.manager.stopping(seconds, f"draining {streams} streams")
            self.server.draining = True
            self._stopping.set()

    def cut(self) -> None:
        """Drain no longer: end."""
        self._stopping.set()
        self._cut_short.set()

    def _stop(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            self.cut()
        else:
            self.drain(number.name)

    async def _let_go(self) -> Exit:
        draining = asyncio.ensure_future(
            drain(self.server.registry, self.server.settings.drain_time, self.server.clocks.monotonic)
        )
        cut = asyncio.ensure_future(self._cut_short.wait())
        await asyncio.wait((draining, cut), return_when=asyncio.FIRST_COMPLETED)
        finished = draining.done()
        draining.cancel()
        cut.cancel()
        return Exit.DRAINED if finished else Exit.CUT_SHORT

    def _take_new_settings(self) -> None:
        self.manager.reloading()
        try:
            settings = self._reload()
            self.server.reload(settings)
        except (ConfigProblem, KeyProblem) as problem:
            logger().error(RELOAD_REFUSED, problem=str(problem))
            return
        finally:
            self.manager.ready()
        logger().info("reloaded", restart_needed_for=restart_needed_for(self.settings, settings))


def restart_needed_for(running: Settings, fresh: Settings) -> list[str]:
    """Name the settings that differ and are read when a process starts."""
    return sorted(name for name in AT_START if getattr(fresh, name) != getattr(running, name))


def cant_listen(error: OSError, host: str, port: int, setting: str) -> None:
    """Log that an address can't be had."""
    logger().error("can't listen", problem=error.strerror or str(error), host=host, port=port, setting=setting)


def print_links(public: str, admin: str, settings: Settings) -> None:
    """Print where the demo and the console are; who opens the link to the console is signed in."""
    assert settings.jwt_secret  # noqa: S101 - in dev mode there is one; tells the type checker
    token = sign(
        settings.jwt_secret.get_secret_value(),
        user="dev",
        scopes=["admin"],
        ttl=DEV_TOKEN,
        now=time.time(),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
    sys.stdout.write(f"\n  See events arrive: {public}/demo\n  Watch the server:  {admin}/console#token={token}\n\n")
    sys.stdout.flush()


def _calm_the_collector() -> None:
    # Streams and messages are many, live long and form no cycles: looking through them again and again is in vain.
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


def _raise_descriptor_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

"""The life of a server process: listening, signals, draining, exit codes."""

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Callable
from enum import IntEnum

from tornado_sse import __version__
from tornado_sse.app import EventServer
from tornado_sse.brokers.base import BrokerProblem
from tornado_sse.config import ConfigProblem, Settings
from tornado_sse.drain import drain
from tornado_sse.errors import Unavailable
from tornado_sse.handlers.routes import application
from tornado_sse.keys import KeyProblem
from tornado_sse.listener import Listener
from tornado_sse.log import logger

AT_START = (
    *("host", "port", "admin_host", "admin_port", "reuse_port", "dev", "log_level", "log_format"),
    *("jwks_url", "keepalive", "retry", "disconnect_hold"),
    *("history_size", "history_ttl", "history_bytes", "idempotency_window", "idempotency_keys"),
    *("broker", "broker_prefix", "broker_replicas", "broker_probe", "broker_user", "broker_password", "broker_token"),
    *("broker_creds", "broker_nkey", "broker_ca", "broker_cert", "broker_key"),
)
"""Settings that are read when the process starts, and that a reload does not change."""


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
    _raise_descriptor_limit()
    try:
        return asyncio.run(_Process(settings, reload).run())
    except (KeyProblem, ConfigProblem) as problem:
        logger().error("refused", problem=str(problem))
        return Exit.REFUSED


class _Process:
    def __init__(self, settings: Settings, reload: Callable[[], Settings]) -> None:
        self._settings = settings
        self._reload = reload
        self._server = EventServer(settings)
        self._stops = 0
        self._stopping = asyncio.Event()
        self._cut_short = asyncio.Event()

    async def run(self) -> int:
        listeners = self._listen()
        if listeners is None:
            return Exit.FAILED
        self._watch_signals()
        if problem := await self._start():
            for listener in listeners:
                await listener.close()
            return problem
        _calm_the_collector()
        for listener in listeners:
            listener.start()
        self._announce(*listeners)
        await self._stopping.wait()
        code = await self._drain()
        for listener in listeners:
            await listener.close()
        await self._server.close()
        logger().info("stopped", code=int(code))
        return code

    async def _start(self) -> Exit | None:
        """Start the server; return what to exit with if that fails."""
        try:
            await self._server.start()
        except BrokerProblem as problem:
            logger().error("refused", problem=str(problem))
            return Exit.REFUSED
        except Unavailable as error:
            logger().error("broker out of reach", problem=error.message)
            return Exit.FAILED
        return None

    def _listen(self) -> tuple[Listener, Listener] | None:
        server, settings = self._server, self._settings
        host, port, setting = settings.host, settings.port, "port"
        try:
            public = Listener(application(server, server.routes()), host, port, reuse_port=settings.reuse_port)
            host, port, setting = settings.admin_host, settings.admin_port, "admin_port"
            return public, Listener(application(server, server.admin_routes()), host, port)
        except OSError as error:
            logger().error("can't listen", problem=error.strerror or str(error), host=host, port=port, setting=setting)
            return None

    def _announce(self, public: Listener, admin: Listener) -> None:
        logger().info("listening", public=public.url, admin=admin.url, version=__version__, dev=self._settings.dev)
        if self._settings.reuse_port and not self._settings.broker:
            logger().warning("without a broker processes on one port share no messages: replace one, do not add one")
        if self._settings.dev:
            sys.stdout.write(f"\n  See events arrive: {public.url}/demo\n\n")
            sys.stdout.flush()

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._take_new_settings)

    def _stop(self, number: signal.Signals) -> None:
        self._stops += 1
        if self._stops == 1:
            streams = len(self._server.registry.hub.streams)
            logger().info("draining", signal=number.name, streams=streams, seconds=self._server.settings.drain_time)
            self._server.draining = True
            self._stopping.set()
        else:
            self._cut_short.set()

    async def _drain(self) -> Exit:
        draining = asyncio.ensure_future(
            drain(self._server.registry, self._server.settings.drain_time, self._server.clocks.monotonic)
        )
        cut = asyncio.ensure_future(self._cut_short.wait())
        await asyncio.wait((draining, cut), return_when=asyncio.FIRST_COMPLETED)
        finished = draining.done()
        draining.cancel()
        cut.cancel()
        return Exit.DRAINED if finished else Exit.CUT_SHORT

    def _take_new_settings(self) -> None:
        try:
            settings = self._reload()
            self._server.reload(settings)
        except (ConfigProblem, KeyProblem) as problem:
            logger().error("reload refused, all stays as it was", problem=str(problem))
            return
        changed = [name for name in AT_START if getattr(settings, name) != getattr(self._settings, name)]
        logger().info("reloaded", restart_needed_for=sorted(changed))


def _calm_the_collector() -> None:
    # Streams and messages are many, live long and form no cycles: looking through them again and again is in vain.
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


def _raise_descriptor_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

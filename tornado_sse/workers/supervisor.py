"""The process above the workers: signals, the admin port, the private broker, exit codes."""

import asyncio
import os
import signal
import time
from collections.abc import Callable

from tornado_sse import __version__
from tornado_sse.config import ConfigProblem, Settings
from tornado_sse.console.node import Console
from tornado_sse.errors import Unavailable
from tornado_sse.lifecycle import AT_START, RELOAD_REFUSED, Exit, cant_listen, live, print_links, restart_needed_for
from tornado_sse.listener import Listener, url_of
from tornado_sse.log import logger
from tornado_sse.registry import Clocks
from tornado_sse.systemd import ServiceManager
from tornado_sse.workers.admin import application
from tornado_sse.workers.console import CrewOperations
from tornado_sse.workers.crew import Crew
from tornado_sse.workers.embedded import EmbeddedNats
from tornado_sse.workers.ports import SharedPort


def serve(settings: Settings, reload: Callable[[], Settings]) -> int:
    """Run workers until told to stop; return the exit code. `reload` reads the settings anew at SIGHUP."""
    return live(lambda: Supervisor(settings, reload, _manager()).run())


def _manager() -> ServiceManager:
    manager = ServiceManager.named_in(os.environ, os.getpid())
    if manager.public or manager.admin:
        raise ConfigProblem(["a socket was handed over, which workers can't share: each listens on one of its own"])
    return manager


class Supervisor:
    """Starts and stops the workers, and speaks for them."""

    def __init__(self, settings: Settings, reload: Callable[[], Settings], manager: ServiceManager) -> None:
        self._settings = settings
        self._reload = reload
        self._manager = manager
        self._embedded = EmbeddedNats(settings) if settings.broker is None else None
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.crew: Crew
        self.console: Console

    @property
    def draining(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    async def run(self) -> int:
        """Live; return the exit code."""
        self.crew = Crew(self._settings)
        operations = CrewOperations(self.crew, self._drain)
        self.console = Console(self._settings, operations, Clocks(time.monotonic, time.time))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number.name)
        try:
            listening = self._listen()
            return await self._run(*listening) if listening else Exit.FAILED
        finally:
            if self._embedded:
                await self._embedded.close()

    async def _run(self, port: SharedPort, admin: Listener) -> int:
        try:
            return await self._serve(port.port, admin) if await self._has_broker() else Exit.FAILED
        finally:
            await admin.close()
            port.close()

    async def _has_broker(self) -> bool:
        try:
            if self._embedded:
                await self._embedded.start()
        except (Unavailable, OSError) as error:
            logger().error("no private NATS", problem=str(error))
            return False
        return True

    async def _serve(self, port: int, admin: Listener) -> int:
        self.crew.settings = self._for_workers(self._settings, port)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._take_new_settings, port)
        if (failed := await self.crew.start()) is not None:
            return failed
        await self.console.start()
        admin.start()
        self._announce(port, admin.url)
        code = await self.crew.ended()
        await self.console.close()
        logger().info("stopped", code=int(code))
        return code

    def _for_workers(self, settings: Settings, port: int) -> Settings:
        settings = settings.model_copy(update={"port": port})
        return self._embedded.lead(settings) if self._embedded else settings

    def _listen(self) -> tuple[SharedPort, Listener] | None:
        settings = self._settings
        host, port, setting = settings.host, settings.port, "port"
        try:
            shared = SharedPort(host, port, shared=settings.reuse_port)
            host, port, setting = settings.admin_host, settings.admin_port, "admin_port"
            return shared, Listener(application(self, dev=settings.dev), host, port)
        except OSError as error:
            cant_listen(error, host, port, setting)
            return None

    def _announce(self, port: int, admin: str) -> None:
        public = url_of(self._settings.host, port)
        told = {"version": __version__, "dev": self._settings.dev, "workers": self._settings.workers}
        logger().info("listening", public=public, admin=admin, **told)
        if self._settings.dev:
            print_links(public, admin, self._settings)
        self._manager.ready(f"listening at {public} with {self._settings.workers} workers")

    def _drain(self) -> None:
        if not self.draining:
            self._stop("console")

    def _stop(self, why: str) -> None:
        if not self.draining:
            seconds = self.crew.settings.drain_time
            logger().info("draining", signal=why, seconds=seconds)
            self._manager.stopping(seconds, "draining")
        self.crew.stop(at_once=self.draining)
        self._stopping.set()

    def _take_new_settings(self, port: int) -> None:
        self._manager.reloading()
        try:
            fresh = self._reload()
        except ConfigProblem as problem:
            logger().error(RELOAD_REFUSED, problem=str(problem))
            self._manager.ready()
            return
        task = asyncio.create_task(self._hand_on(fresh, port))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_on(self, fresh: Settings, port: int) -> None:
        started_with = {name: getattr(self._settings, name) for name in AT_START}
        async with self._reloading:
            problem = await self.crew.reload(self._for_workers(fresh.model_copy(update=started_with), port))
        self._manager.ready()
        if problem:
            logger().error(RELOAD_REFUSED, problem=problem)
        else:
            self.console.reload(fresh)
            logger().info("reloaded", restart_needed_for=restart_needed_for(self._settings, fresh))

"""One of several workers: a server as any other, that obeys the supervisor instead of signals, and reports to it."""

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence

from prometheus_client import generate_latest

from tornado_sse import log
from tornado_sse.config import ConfigProblem, Settings
from tornado_sse.handlers.routes import application
from tornado_sse.keys import KeyProblem
from tornado_sse.lifecycle import Exit, Process, cant_listen, live
from tornado_sse.listener import Listener
from tornado_sse.workers.words import (
    Begin,
    Channel,
    Figures,
    Listening,
    Operate,
    Operated,
    Order,
    Stop,
    Take,
    Taken,
    Tell,
    orders,
)


class Worker(Process):
    """A server whose metrics and readiness the supervisor tells of."""

    def __init__(self, settings: Settings, channel: Channel[Order]) -> None:
        super().__init__(settings, lambda: settings)
        self._channel = channel
        self._obeying: asyncio.Task[None] | None = None
        self._operating: set[asyncio.Task[None]] = set()

    def listen(self) -> Sequence[Listener] | None:
        """Share the port."""
        host, port = self.settings.host, self.settings.port
        try:
            shared = application(self.server, self.server.routes())
            return (Listener(shared, host, port, reuse_port=True, stats=self.server.stats),)
        except OSError as error:
            cant_listen(error, host, port, "port")
            return None

    def announce(self, *_: Listener) -> None:
        """Say so to the supervisor, who tells the world."""
        self._channel.say(Listening())

    def watch(self) -> None:
        """Obey the supervisor. A signal to all processes of a service reaches a worker, too: it may come as well."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.drain, number.name)
        loop.add_signal_handler(signal.SIGHUP, _do_nothing)
        self._obeying = asyncio.create_task(self._obey())

    async def _obey(self) -> None:
        while (order := await self._channel.hear()) is not None:
            self._carry_out(order)
        self.cut()

    def _carry_out(self, order: Order) -> None:
        match order:
            case Tell(number):
                metrics = generate_latest(self.server.prometheus).decode()
                self._channel.say(Figures(number, self.server.ready, metrics))
            case Take(number, settings):
                self._channel.say(Taken(number, self._take(settings)))
            case Operate():
                task = asyncio.create_task(self._operate(order))
                self._operating.add(task)
                task.add_done_callback(self._operating.discard)
            case Stop(at_once=True):
                self.cut()
            case _:
                self.drain("supervisor")

    async def _operate(self, order: Operate) -> None:
        outcome = await self.server.operations.perform(order.operation)
        self._channel.say(Operated(order.number, outcome))

    def _take(self, settings: dict[str, object]) -> str:
        try:
            self.server.reload(Settings(**settings))
        except (ConfigProblem, KeyProblem, ValueError) as problem:
            return str(problem)
        return ""


def _do_nothing() -> None:
    """Leave it to the supervisor to read settings anew."""


async def work() -> int:
    """Serve as told over the socket that stands in for stdin."""
    channel = await orders(socket.socket(fileno=sys.stdin.fileno()))
    begin = await channel.hear()
    if not isinstance(begin, Begin):  # whoever started us is gone already
        return Exit.FAILED
    settings = Settings(**begin.settings)
    log.configure(settings.log_level, settings.log_format, worker=begin.worker)
    return await Worker(settings, channel).run()


if __name__ == "__main__":
    sys.exit(live(work))

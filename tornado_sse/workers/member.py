"""A worker process, as the supervisor has it."""

import asyncio
import socket
import sys
from contextlib import suppress
from itertools import count
from typing import cast

from tornado_sse.config import Settings
from tornado_sse.console.operations import Operation, Outcome
from tornado_sse.workers import tether
from tornado_sse.workers.words import (
    Begin,
    Channel,
    Figures,
    Listening,
    Operate,
    Operated,
    Report,
    Stop,
    Take,
    Taken,
    Tell,
    reports,
    spell,
)


class Member:
    """A worker that runs, or ran: it is made by `begin`."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel[Report]) -> None:
        self._process = process
        self._channel = channel
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[Figures | Taken | Operated]] = {}
        self._listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hearing = asyncio.create_task(self._hear())
        self.pid = process.pid

    @classmethod
    async def begin(cls, worker: int, settings: Settings) -> "Member":
        """Start a worker. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            process = await tether.start([sys.executable, "-m", "tornado_sse.workers.worker"], stdin=theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        channel = await reports(ours)
        channel.say(Begin(worker, spell(settings)))
        return cls(process, channel)

    async def listening(self) -> bool:
        """Wait until it listens; False: it ended instead."""
        ended = asyncio.ensure_future(self.ended())
        await asyncio.wait((self._listening, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        return self._listening.done()

    async def ended(self) -> int:
        """Wait for its end; return its exit code, or the negative number of the signal that killed it."""
        code = await self._process.wait()
        self._hearing.cancel()
        self._channel.close()
        return code

    async def figures(self, patience: float) -> Figures | None:
        """Ask how it is; None: no answer within `patience` seconds."""
        return cast("Figures | None", await self._ask(Tell(next(self._numbers)), patience))

    async def take(self, settings: Settings, patience: float) -> str | None:
        """Hand it new settings; return what it has against them, or None: nothing, or no answer."""
        answer = await self._ask(Take(next(self._numbers), spell(settings)), patience)
        return answer.problem or None if isinstance(answer, Taken) else None

    async def perform(self, operation: Operation, patience: float) -> Outcome | None:
        """Have it do what the console asks for; None: no answer."""
        answer = await self._ask(Operate(next(self._numbers), operation), patience)
        return answer.outcome if isinstance(answer, Operated) else None

    def stop(self, *, at_once: bool = False) -> None:
        """Have it drain, or end at once."""
        self._channel.say(Stop(at_once))

    def kill(self) -> None:
        """Have the kernel end it."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _ask(self, order: Tell | Take | Operate, patience: float) -> Figures | Taken | Operated | None:
        answer: asyncio.Future[Figures | Taken | Operated] = asyncio.get_running_loop().create_future()
        self._asked[order.number] = answer
        self._channel.say(order)
        try:
            async with asyncio.timeout(patience):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._asked[order.number]

    async def _hear(self) -> None:
        while (report := await self._channel.hear()) is not None:
            if isinstance(report, Listening):
                self._listening.set_result(None)
            elif (asked := self._asked.get(report.number)) and not asked.done():  # done: given up just now
                asked.set_result(report)

"""All workers together: started, replaced when they end, drained."""

import asyncio

from tornado_sse.config import Settings
from tornado_sse.console.operations import End, Find, Look, Outcome, Send
from tornado_sse.lifecycle import Exit
from tornado_sse.log import logger
from tornado_sse.workers.backoff import Backoff
from tornado_sse.workers.member import Member
from tornado_sse.workers.words import Figures

ANSWER = 1.0
"""Seconds that a worker has to tell its figures."""

GRACE = 5.0
"""Seconds beyond the drain time, or to take settings, that a worker has before it is given up."""


class Crew:
    """The workers of one port. `restarts` is how often each was replaced."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.restarts = dict.fromkeys(range(settings.workers), 0)
        self._members: dict[int, Member] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cut = False

    async def start(self) -> int | None:
        """Start all workers; return what to exit with if one fails: the others are stopped then.

        The first one goes ahead, so that what is wrong with the settings is said once.
        """
        for workers in (range(1), range(1, self.settings.workers)):
            codes = await asyncio.gather(*map(self._first_start, workers))
            if failed := [code for code in codes if code is not None]:
                self.stop(at_once=True)
                await self.ended()
                return failed[0]
        return None

    async def figures(self) -> dict[int, Figures | None]:
        """Ask all workers; None for one that does not answer."""
        members = dict(self._members)
        answers = await asyncio.gather(*(member.figures(ANSWER) for member in members.values()))
        return dict.fromkeys(self.restarts) | dict(zip(members, answers, strict=True))

    async def look(self) -> dict[int, Outcome | None]:
        """Have all workers take a Sample; None for one that does not answer."""
        members = dict(self._members)
        answers = await asyncio.gather(*(member.perform(Look(), ANSWER) for member in members.values()))
        return dict.fromkeys(self.restarts) | dict(zip(members, answers, strict=True))

    async def perform(self, operation: Find | End) -> list[Outcome]:
        """Have all workers do it; return the answers of those that do."""
        members = list(self._members.values())
        answers = await asyncio.gather(*(member.perform(operation, ANSWER) for member in members))
        return [answer for answer in answers if answer is not None]

    async def perform_once(self, operation: Send) -> Outcome | None:
        """Have one worker do it; None: no answer. Another is not asked then: it may have been done."""
        for member in self._members.values():
            return await member.perform(operation, GRACE)
        return None

    async def reload(self, settings: Settings) -> str | None:
        """Hand all workers new settings; return what the first one has against them: then all stays as it was."""
        members = list(self._members.values())
        for some in (members[:1], members[1:]):
            problems = await asyncio.gather(*(member.take(settings, GRACE) for member in some))
            if any(problems):
                return problems[0]
            self.settings = settings
        return None

    def stop(self, *, at_once: bool = False) -> None:
        """Have all workers drain, or end at once; none is replaced any more."""
        if not self._stopped.done():
            self._stopped.set_result(None)
        self._cut |= at_once
        for member in self._members.values():
            member.stop(at_once=at_once)
        asyncio.get_running_loop().call_later(GRACE + (0 if at_once else self.settings.drain_time), self._kill)

    async def ended(self) -> int:
        """Wait until all workers ended; return what to exit with."""
        await asyncio.gather(*self._keepers)
        codes = await asyncio.gather(*(member.ended() for member in self._members.values()))
        if self._cut:
            return Exit.CUT_SHORT
        return Exit.FAILED if any(codes) else Exit.DRAINED

    async def _first_start(self, worker: int) -> int | None:
        member = await self._begin(worker)
        if member is None:
            return Exit.FAILED
        if await member.listening():
            self._keepers.append(asyncio.create_task(self._keep(worker, member)))
            return None
        del self._members[worker]
        return max(await member.ended(), Exit.FAILED)

    async def _begin(self, worker: int) -> Member | None:
        try:
            member = await Member.begin(worker, self.settings)
        except OSError as error:
            logger().error("can't start a worker", worker=worker, problem=str(error))
            return None
        self._members[worker] = member
        logger().info("worker started", worker=worker, pid=member.pid)
        if self._stopped.done():
            member.stop(at_once=self._cut)
        return member

    async def _keep(self, worker: int, member: Member | None) -> None:
        """Have a worker, until the crew stops."""
        clock, backoff = asyncio.get_running_loop().time, Backoff()
        begun = clock()
        while member is None or await self._lost(worker, member):
            if await self._stops_within(backoff.pause(clock() - begun)):
                return
            begun = clock()
            self.restarts[worker] += 1
            member = await self._begin(worker)

    async def _lost(self, worker: int, member: Member) -> bool:
        """Wait for a worker's end; return whether it came unasked."""
        code = await member.ended()
        if self._stopped.done():
            return False
        del self._members[worker]
        logger().error("worker ended", worker=worker, code=code)
        return True

    async def _stops_within(self, seconds: float) -> bool:
        done, _ = await asyncio.wait([self._stopped], timeout=seconds)
        return bool(done)

    def _kill(self) -> None:
        for member in self._members.values():
            member.kill()

"""The console's operations on all workers: each is asked, and the answers are joined."""

from collections.abc import Callable

import msgspec

from tornado_sse.console.finding import joined
from tornado_sse.console.operations import End, Ended, Find, Outcome, Page, Refused, Sample, Send
from tornado_sse.workers.crew import Crew

NOBODY = Refused(503, "no worker answers")


class CrewOperations:
    """Speaks for the workers. `drain` stops them all."""

    def __init__(self, crew: Crew, drain: Callable[[], None]) -> None:
        self._crew = crew
        self.drain = drain

    async def samples(self) -> dict[int, Sample | None]:
        """Look at each worker."""
        answers = await self._crew.look()
        return {worker: one if isinstance(one, Sample) else None for worker, one in answers.items()}

    async def perform(self, operation: Find | End | Send) -> Outcome:
        """Find and disconnect everywhere; publish through one, which carries it to all."""
        if isinstance(operation, Send):
            return await self._crew.perform_once(operation) or NOBODY
        if isinstance(operation, End):
            answers = await self._crew.perform(operation)
            ended = [answer.streams for answer in answers if isinstance(answer, Ended)]
            return Ended(sum(ended)) if ended else _refusal(answers)
        whole = msgspec.structs.replace(operation, offset=0, limit=operation.offset + operation.limit)
        answers = await self._crew.perform(whole)
        return joined([answer for answer in answers if isinstance(answer, Page)], operation)


def _refusal(answers: list[Outcome]) -> Outcome:
    return answers[0] if answers else NOBODY

"""What streams missed, one question for all that ask: a restart sends clients to a node by the hundred.

Those who come while a question is under way share the next one. It asks for every subject from the lowest sequence
that any of them has, and each takes what is above its own.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import merge
from operator import attrgetter
from typing import NamedTuple

from tornado_sse.brokers.base import Past
from tornado_sse.brokers.nats import codec
from tornado_sse.brokers.nats.reader import Info, Reader, Stored
from tornado_sse.brokers.nats.shared import Shared
from tornado_sse.message import Message
from tornado_sse.topic import Topic

FAR = 10_000
"""Who missed more than that of all messages asks alone: the others need not wait for so much."""

_sequence = attrgetter("sequence")


class _Subject(NamedTuple):
    messages: Sequence[Message]
    lost: int

    def above(self, after: int) -> Sequence[Message]:
        return self.messages[bisect_right(self.messages, after, key=_sequence) :]


class _Answer(NamedTuple):
    """What the stream has of those subjects where there was anything; from before sequence `first` it has nothing."""

    first: int
    subjects: Mapping[str, _Subject]


class _Question:
    """From which sequence on each subject is asked for, and up to where all of it is wanted."""

    def __init__(self) -> None:
        self.after: dict[str, int] = {}
        self.upto = 0

    def add(self, subjects: Iterable[str], after: int, upto: int) -> None:
        self.upto = max(self.upto, upto)
        for subject in subjects:
            self.after[subject] = min(after, self.after.get(subject, after))


class Resumes:
    """Reads what streams missed. `read` makes a message of what is stored; None: its time is over."""

    def __init__(self, now: Shared[Info], reader: Reader, read: Callable[[Stored], Message | None]) -> None:
        self._now = now
        self._reader = reader
        self._read = read
        self._question = _Question()
        self._shared = Shared(self._ask_for_all)

    async def past(self, topics: Sequence[Topic], after: int, upto: int) -> Past:
        """Return what was published to the topics above a sequence, complete up to another. Raises Unavailable."""
        subjects = [*map(codec.subject_of, topics), codec.MANY]
        is_far = upto - after > FAR
        question = _Question() if is_far else self._question
        question.add(subjects, after, upto)
        answer = await (self._ask(question) if is_far else self._shared())
        found = [answer.subjects[subject] for subject in subjects if subject in answer.subjects]
        wanted = set(topics)
        every = merge(*(one.above(after) for one in found), key=_sequence)
        messages = [one for one in every if one.sequence <= upto and not wanted.isdisjoint(one.topics)]
        lost = min(upto, max([answer.first - 1, *(one.lost for one in found)]))
        return Past(messages, upto, lost if lost > after else 0)

    async def _ask_for_all(self) -> _Answer:
        question, self._question = self._question, _Question()
        return await self._ask(question)

    async def _ask(self, question: _Question) -> _Answer:
        """Read the subjects, then ask how far the stream has forgotten."""
        kept = await self._reader.subjects(question.after, question.upto)
        first = (await self._now()).first
        subjects = {
            name: _Subject([message for stored in one.messages if (message := self._read(stored))], one.lost)
            for name, one in kept.items()
        }
        return _Answer(first, subjects)

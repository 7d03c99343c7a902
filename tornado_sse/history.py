"""History: the messages kept for those who come back, bounded in messages a topic, in age, and in bytes overall.

What is thrown away is remembered as the highest sequence lost of each topic, so that a resume knows exactly whether it
missed something. Topics themselves are bounded too: of one long quiet only a common floor remains, and a resume below
the floor is told of a possible hole rather than of none.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter

from tornado_sse.message import Message
from tornado_sse.topic import Topic

MAX_TOPICS = 100_000
"""Topics remembered, those without messages included."""

OVERHEAD = 400
"""Bytes that a kept message costs beside its frame, about: objects, and its places in the queues."""

TOPIC_OVERHEAD = 1200
"""Bytes that a topic with messages costs beside them: its name, its places, a queue whose first block holds 64."""

SWEEP = 500
"""Messages let go in one sweep: that takes a millisecond or two."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What a stream missed: `messages` in order, and `lost`, the highest sequence that is gone (0: none is)."""

    messages: list[Message]
    lost: int


class _Log:
    __slots__ = ("lost", "messages")

    def __init__(self, lost: int) -> None:
        self.messages: deque[Message] = deque()
        self.lost = lost


class History:
    """Keeps `size` messages for each topic for `ttl` seconds, in `max_bytes` overall; the quietest topic goes first.

    `compression`: whether kept frames may come to hold their compressed form as well; it is reckoned as large.
    """

    def __init__(  # noqa: PLR0913 - each bound has a name
        self,
        *,
        size: int,
        ttl: float,
        max_bytes: int,
        clock: Callable[[], float],
        max_topics: int = MAX_TOPICS,
        compression: bool = False,
    ) -> None:
        self._size = size
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._max_topics = max_topics
        self._forms = 2 if compression else 1
        self._clock = clock
        self._logs: OrderedDict[Topic, _Log] = OrderedDict()  # topics with messages, the quietest first
        self._lost: OrderedDict[Topic, int] = OrderedDict()  # topics without, and the highest sequence they lost
        self._floor = 0
        self.bytes = 0

    def extend(self, messages: Iterable[Message]) -> None:
        """Keep messages, whose sequences are above all before. One with a ttl of 0 is not kept, and not missed."""
        oldest = self._clock() - self._ttl
        for message in messages:
            if message.expires_at != message.accepted_at:
                self._append(message, oldest)
        self._make_room()

    def _append(self, message: Message, oldest: float) -> None:
        cost = self._cost(message)
        for topic in message.topics:
            log = self._logs.get(topic)
            if log is None:
                log = self._logs[topic] = _Log(self._lost.pop(topic, self._floor))
                self.bytes += TOPIC_OVERHEAD
            else:
                self._logs.move_to_end(topic)
            kept = log.messages
            kept.append(message)
            self.bytes += cost
            if len(kept) > self._size or kept[0].accepted_at <= oldest:
                self._trim(topic, log, oldest)

    def replay(self, topics: Iterable[Topic], after: int, upto: int) -> Replay:
        """Collect what was published to any of the topics with `after < sequence <= upto`, each message once."""
        now = self._clock()
        lost = 0
        runs = []
        for topic in topics:
            log = self._logs.get(topic)
            if log is None:
                lost = max(lost, self._lost.get(topic, self._floor))
                continue
            self._trim(topic, log, now - self._ttl)
            lost = max(lost, log.lost)
            runs.append([message for message in log.messages if after < message.sequence <= upto])
        found: list[Message] = []
        for message in sorted(chain.from_iterable(runs), key=attrgetter("sequence")):
            twice = found and found[-1].sequence == message.sequence
            if not twice and (message.expires_at is None or message.expires_at > now):
                found.append(message)
        return Replay(found, lost if lost > after else 0)

    def sweep(self) -> bool:
        """Let go of some of what is too old in topics that are quiet; return whether there may be more."""
        oldest, left = self._clock() - self._ttl, SWEEP
        while left and self._logs:
            topic, log = next(iter(self._logs.items()))
            if log.messages[-1].accepted_at > oldest:
                return False
            count = min(left, len(log.messages))
            self._evict(topic, log, count)
            left -= count
        return bool(self._logs)

    def _make_room(self) -> None:
        while self._logs:
            topic, log = next(iter(self._logs.items()))
            if len(self._logs) > self._max_topics:
                self._evict(topic, log, len(log.messages))
            elif self.bytes > self._max_bytes:
                self._evict(topic, log, 1)
            else:
                return

    def _trim(self, topic: Topic, log: _Log, oldest: float) -> None:
        count = max(0, len(log.messages) - self._size)
        while count < len(log.messages) and log.messages[count].accepted_at <= oldest:
            count += 1
        if count:
            self._evict(topic, log, count)

    def _evict(self, topic: Topic, log: _Log, count: int) -> None:
        for _ in range(count):
            message = log.messages.popleft()
            log.lost = message.sequence
            self.bytes -= self._cost(message)
        if not log.messages:
            del self._logs[topic]
            self.bytes -= TOPIC_OVERHEAD
            self._lost[topic] = log.lost
        if len(self._lost) > self._max_topics:
            _, lost = self._lost.popitem(last=False)
            self._floor = max(self._floor, lost)

    def _cost(self, message: Message) -> int:
        return len(message.frame.chunk) * self._forms + OVERHEAD

"""Fan-out: from messages to writes, in order, in slices, with one write a stream for what came in one turn of the loop.

Everything about the order and the pace of delivery lives here. It knows no sockets: a stream is something that takes
bytes at once (`send`), and that keeps what is left over (`backlog`).
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Generic, NamedTuple, Protocol, TypeVar

from tornado_sse.event import Encoding
from tornado_sse.hub import Hub, Subscriber
from tornado_sse.message import Batch, Message
from tornado_sse.outbox import WRITE_SIZE, Outbox
from tornado_sse.sharing import Audience, Plan, share
from tornado_sse.stats import Stats
from tornado_sse.steps import PAUSE, SLICE, make_until

STRIDE = 32
"""Writes between two looks at the clock, while sockets take everything at once."""


class Target(Subscriber, Protocol):
    """A stream as fan-out sees it: `outbox` is None while its socket takes everything at once."""

    encoding: Encoding
    outbox: Outbox | None
    sent: int

    @property
    def send(self) -> Callable[[bytes], int]:
        """Hand bytes to the socket; returns how many it took, raises OSError."""

    def backlog(self, batch: Batch, sent: int) -> None:
        """Keep what the socket did not take of the batch's payload, after its first `sent` bytes."""

    def send_failed(self, batch: Batch, error: OSError) -> None:
        """Judge an error of `send`: the socket is full, or broken."""


T = TypeVar("T", bound=Target)

Work = Callable[[], Iterator[object] | None]
"""Something to do; what takes long returns its steps."""


class _Mark(NamedTuple):
    """What is to be done behind a message. `strict`: before the next one as well. No message goes to its topics."""

    work: Work
    strict: bool
    topics: tuple[()] = ()


class Fanout(Generic[T]):
    """Delivers messages to the streams of a hub.

    `schedule` runs a callback in the next turn of the loop; `clock` is monotonic. `completed` is the highest sequence
    whose every write was made or left to an outbox. `trace` is told of each fan-out of a message with a traceparent.
    """

    def __init__(
        self, hub: Hub[T], stats: Stats, schedule: Callable[[Callable[[], None]], object], clock: Callable[[], float]
    ) -> None:
        self._hub = hub
        self._stats = stats
        self._schedule = schedule
        self._clock = clock
        self._pending: deque[Message | _Mark] = deque()
        self._steps: Iterator[object] | None = None
        self._sharing: Iterator[Iterable[Audience[T]] | None] = iter(())
        self._writes: Iterator[tuple[Batch, T]] = iter(())
        self._planned: list[Message] = []
        self._passed: list[_Mark] = []
        self._planned_at = 0.0
        self._scheduled = False
        self.completed = 0
        self.trace: Callable[[Message, float, float], None] = _nobody

    def deliver(self, messages: Sequence[Message]) -> None:
        """Take messages in the order of their sequences; they leave from the next turn of the loop on."""
        self._pending.extend(messages)
        if not self._scheduled:
            self._wake()

    def afterwards(self, work: Work, *, strict: bool = False) -> None:
        """Do something behind what was delivered so far; `strict`: and before what is delivered later.

        At once, if nothing waits. Its steps are made in slices.
        """
        at_once = self.idle
        self._pending.append(_Mark(work, strict))
        if at_once:
            self._take_turn()

    @property
    def idle(self) -> bool:
        """Whether everything delivered so far was handed to the streams, and what was to be done is done."""
        return not self._pending and not self._planned and self._steps is None

    def _wake(self, turns: int = 1) -> None:
        """Have a slice, in so many turns of the loop."""
        self._scheduled = True
        self._schedule(self._turn if turns == 1 else lambda: self._wake(turns - 1))

    def _turn(self) -> None:
        self._scheduled = False
        self._take_turn()

    def _take_turn(self) -> None:
        try:
            self._work_until(self._clock() + SLICE)
        finally:  # such work or the tracing may have raised, which the loop logs: the streams wait for the rest
            if not self.idle and not self._scheduled:  # that work may have delivered something
                self._wake(1 + PAUSE)

    def _work_until(self, deadline: float) -> None:
        """Plan and write, plan and write, and do in between what is to be done there."""
        while not self.idle:
            if self._planned or (self._steps is None and isinstance(self._pending[0], Message)):
                self._deliver_until(deadline)
            else:
                self._pass_until(deadline)
            if self._clock() >= deadline:
                return

    def _pass_until(self, deadline: float) -> None:
        """Do what stands between messages."""
        if self._steps is None:
            self._steps = iter(())  # whoever delivers meanwhile, or wants more to be done, has to wait
            mark = self._pending.popleft()
            assert isinstance(mark, _Mark)  # noqa: S101 - a message is delivered; tells the type checker
            self._steps = mark.work() or self._steps
        if not make_until(self._steps, self._clock, deadline):
            self._steps = None

    def _deliver_until(self, deadline: float) -> None:
        if not self._planned:
            self._plan(deadline)
        if self._share_until(deadline) and self._write_until(deadline):
            self._finish()

    def _plan(self, deadline: float) -> None:
        """Decide who gets what, of as many messages as there is time for: a great burst is planned in steps."""
        plans: list[Plan[T]] = []
        self._planned_at = self._clock()
        while run := self._take_run():
            labels = self._hub.labels(run[0].topics) if self._hub.labelling else ()
            plans.append((run, tuple(self._hub.matching(run[0].topics)), labels))
            is_full = bool(self._pending) and self._pending[0].topics == run[0].topics
            if (is_full and len(plans) == 1) or self._clock() >= deadline:
                break
        self._sharing = share(plans)

    def _take_run(self) -> list[Message]:
        """Take the messages that go to the same topics, of about one write at most; none if there are none to take."""
        run: list[Message] = []
        size = 0
        while size < WRITE_SIZE and self._pending:
            head = self._pending[0]
            if isinstance(head, Message):
                if run and head.topics != run[0].topics:
                    break
                run.append(head)
                size += len(head.frame.chunk)
            elif head.strict:
                break
            else:
                self._passed.append(head)
            self._pending.popleft()
        self._planned.extend(run)
        return run

    def _share_until(self, deadline: float) -> bool:
        """Find out which streams share their writes; return whether that was done before the deadline."""
        for audiences in self._sharing:
            if audiences is not None:
                self._writes = _writes(audiences)
            elif self._clock() >= deadline:
                return False
        return True

    def _write_until(self, deadline: float) -> bool:
        """Make the planned writes; return whether all were made before the deadline."""
        while self._write(deadline):
            if self._clock() >= deadline:
                return False
        return True

    def _write(self, deadline: float) -> bool:
        """Make the next writes; return whether there may be more."""
        # The hot path: what stands in this loop is paid for every delivery. `send` is fetched before it is called, for
        # the interpreter is quick to read a slot but slow to call one. A backlog takes far longer than the clock.
        current: Batch | None = None
        encoding, payload = Encoding.CHUNKED, b""
        size = count = delivered = sent_bytes = writes = 0
        for batch, stream in islice(self._writes, STRIDE):
            writes += 1
            if stream.outbox is None:
                if batch is not current or stream.encoding is not encoding:
                    current, encoding = batch, stream.encoding
                    payload = batch.payload(encoding)
                    size, count = len(payload), len(batch.messages)
                send = stream.send
                try:
                    sent = send(payload)
                except OSError as error:
                    stream.send_failed(batch, error)
                else:
                    sent_bytes += sent
                    if sent == size:
                        stream.sent += count
                        delivered += count
                        continue
                    stream.backlog(batch, sent)
            else:
                stream.backlog(batch, 0)
            if self._clock() >= deadline:
                writes = STRIDE
                break
        self._stats.messages_delivered += delivered
        self._stats.bytes_sent += sent_bytes
        return writes == STRIDE

    def _finish(self) -> None:
        now = self._clock()
        self._stats.fanout.observe(now - self._planned_at)
        done, self._planned = self._planned, []
        for accepted_at, count in Counter([message.accepted_at for message in done]).items():
            self._stats.delivery.observe(now - accepted_at, count)
        self.completed = done[-1].sequence
        self._pending.extendleft(reversed(self._passed))
        self._passed.clear()
        for message in done:
            if message.traceparent is not None:
                self.trace(message, self._planned_at, now)


def _nobody(_message: Message, _began: float, _ended: float) -> None:
    """Tell nobody."""


def _writes(audiences: Iterable[Audience[T]]) -> Iterator[tuple[Batch, T]]:
    for run, streams in audiences:
        batch = Batch(run)
        if len(streams) == 1:
            yield batch, streams[0]
        else:
            yield from zip(repeat(batch), streams)

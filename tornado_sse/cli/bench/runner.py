"""A run, from the first connect to the last message."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic, monotonic_ns

from tornado_sse.cli.bench.crew import Crew
from tornado_sse.cli.bench.plan import NS, Composer, Plan
from tornado_sse.cli.bench.progress import Progress
from tornado_sse.cli.bench.publisher import Publisher, Stopped
from tornado_sse.cli.bench.report import Result
from tornado_sse.cli.bench.sockets import Loop

SETTLE = 5.0
"""Seconds without anything happening after which nothing more is expected to."""

TURN = 0.1
"""Seconds that the loop waits at most."""

FINE = 0.001
"""Seconds that epoll waits for at least; what is shorter is waited for turn by turn."""


class Runner:
    """Runs a plan with the streams of some crews.

    `compose` makes the composer once it is known which streams opened; `unicast`: each message goes to one of them.
    """

    def __init__(  # noqa: PLR0913 - the parts of a run, all by name
        self,
        plan: Plan,
        *,
        loop: Loop,
        crews: Sequence[Crew],
        publisher: Publisher,
        compose: Callable[[list[int]], Composer],
        unicast: bool,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._loop = loop
        self._crews = crews
        self._publisher = publisher
        self._compose = compose
        self._unicast = unicast
        self._progress = progress
        self._published = 0
        self._began = 0
        self._changed = 0
        self._result = Result(plan.streams)

    def run(self) -> Result:
        """Run it. What stops it early is in the result."""
        try:
            self._connect()
            self._publish()
            self._settle()
        except KeyboardInterrupt:
            self._result.stopped, self._result.interrupted = "interrupted", True
        except (Stopped, ChildProcessError, BrokenPipeError) as stopped:
            self._result.stopped = str(stopped)
        self._finish()
        return self._result

    def close(self) -> None:
        """Close everything."""
        self._progress.close()
        self._publisher.close()
        for crew in self._crews:
            crew.close()
        self._loop.close()

    @property
    def _opened(self) -> int:
        return sum(crew.opened_count for crew in self._crews)

    @property
    def _received(self) -> int:
        return sum(crew.tally.received for crew in self._crews)

    @property
    def _each(self) -> int:
        return 1 if self._unicast else self._opened

    @property
    def _failure(self) -> str:
        return next((crew.failure for crew in self._crews if crew.failure), "")

    def _connect(self) -> None:
        self._progress.phase("connecting", self._plan.streams)
        began = monotonic_ns()
        for crew in self._crews:
            crew.start()
        settled = self._wait(
            lambda: all(crew.is_settled for crew in self._crews),
            lambda: self._opened + sum(crew.failures for crew in self._crews),
        )
        self._result.connect_seconds = max(0, *(crew.last_opened - began for crew in self._crews)) / NS
        if not settled:
            raise Stopped(f"nothing happened for {SETTLE:g} s while connecting")
        if not self._opened:
            raise Stopped(f"no stream opened: {self._failure}")

    def _publish(self) -> None:
        plan = self._plan
        composer = self._compose([index for crew in self._crews for index in crew.indexes])
        self._progress.phase("publishing", plan.messages * self._each)
        self._began = self._changed = monotonic_ns()
        while count := plan.next_count(self._published):
            due = self._began + plan.due_at(self._published)
            now = monotonic_ns()
            if self._may_publish(due, now):
                ns = due if plan.rate else now
                self._publisher.send(composer.request(self._published, count, ns))
                self._published += count
                self._changed = monotonic_ns()
                self._turn(0)
            else:
                self._check_stuck(due, now)
                self._turn(_until(due))

    def _may_publish(self, due: int, now: int) -> bool:
        if not self._publisher.is_ready or due > now:
            return False
        outstanding = self._published - self._received / self._each
        return bool(self._plan.rate) or self._plan.has_room(self._published, outstanding)

    def _check_stuck(self, due: int, now: int) -> None:
        """Give up when what is due can't go: the server answers no more, or lost messages keep the window full."""
        latest = max(due, self._changed, *(crew.tally.last for crew in self._crews))
        if now - latest > SETTLE * NS:
            raise Stopped(f"nothing arrived for {SETTLE:g} s")

    def _settle(self) -> None:
        """Wait for what is on its way; what does not come is lost."""
        self._wait(
            lambda: self._received >= self._published * self._each and not self._publisher.in_flight,
            lambda: self._received - self._publisher.in_flight,
        )

    def _wait(self, done: Callable[[], bool], state: Callable[[], int]) -> bool:
        """Wait until it is done, or, returning False, until nothing has changed for a while."""
        changed, seen = monotonic(), state()
        while not done():
            self._turn(TURN)
            if state() != seen:
                changed, seen = monotonic(), state()
            elif monotonic() - changed > SETTLE:
                return False
        return True

    def _turn(self, seconds: float) -> None:
        self._loop.turn(seconds)
        self._progress.reach(self._received if self._began else self._opened)
        if self._opened and sum(crew.tally.closed for crew in self._crews) == self._opened:
            raise Stopped("the server closed every stream")

    def _finish(self) -> None:
        result, deadline = self._result, monotonic() + SETTLE
        result.opened, result.failure = self._opened, self._failure
        result.published, result.expected = self._published, self._published * self._each
        result.publish_seconds = (self._changed - self._began) / NS
        for crew in self._crews:
            crew.finish()
        with suppress(ChildProcessError):  # what it told last counts
            while not all(crew.is_finished for crew in self._crews) and monotonic() < deadline:
                self._loop.turn(TURN)
        for crew in self._crews:
            result.tally.merge(crew.tally)
        result.delivery_seconds = max(0, result.tally.last - self._began) / NS


def _until(due: int) -> float:
    """Return how long the loop may wait: until it is due, or, when it is, until something happens."""
    wait = (due - monotonic_ns()) / NS
    return TURN if wait <= 0 else min(TURN, wait // FINE * FINE)

"""Further processes: one that holds a share of the streams, and how the first one speaks with it.

Lines of JSON. The worker is told its share; it tells how far it is, and at the end of its input the whole tally. So it
never outlives the one that started it.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from time import monotonic

import msgspec

from tornado_sse.cli.bench.crew import LocalCrew, Share
from tornado_sse.cli.bench.sockets import READ, Loop
from tornado_sse.cli.bench.tally import Tally

NEWS = 0.002
"""Seconds between two reports, at least."""


class Report(msgspec.Struct, frozen=True):
    """How far a worker is. `indexes` come once all streams have opened or failed; `tally` when all is over."""

    opened_count: int
    last_opened: int
    failures: int
    failure: str
    received: int
    closed: int
    last: int
    indexes: list[int] | None = None
    tally: Tally | None = None


class Lines:
    """Reads lines from a descriptor; `ended` at its end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""
        self.ended = False

    def read(self) -> list[bytes]:
        """Return the lines that are complete now. Waits for bytes."""
        data = os.read(self._fd, 1 << 20)
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines


class RemoteCrew:
    """The streams of a worker. The loop raises ChildProcessError when it ends before its time."""

    def __init__(self, loop: Loop, share: Share) -> None:
        self.opened_count = 0
        self.last_opened = 0
        self.failures = 0
        self.failure = ""
        self.indexes: list[int] = []
        self.tally = Tally()
        self.is_settled = False
        self.is_finished = False
        self._loop = loop
        self._share = share
        self._worker = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-c", f"from {__name__} import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._worker.stdin  # noqa: S101 - they are pipes; tells the type checker
        assert self._worker.stdout  # noqa: S101 - same
        self._stdin, self._stdout = self._worker.stdin, self._worker.stdout
        self._lines = Lines(self._stdout.fileno())

    def start(self) -> None:
        """Hand the share over."""
        self._loop.watch(self._stdout.fileno(), READ, self._readable)
        self._stdin.write(msgspec.json.encode(self._share) + b"\n")
        self._stdin.flush()

    def finish(self) -> None:
        """Ask for the tally."""
        self._stdin.close()

    def close(self) -> None:
        """End the worker, as the end of its input does."""
        self._loop.forget(self._stdout.fileno())
        with suppress(OSError):  # what was not taken of the share, by a worker that is gone
            self._stdin.close()
        self._stdout.close()
        self._worker.wait()

    def _readable(self) -> None:
        for line in self._lines.read():
            self._take(msgspec.json.decode(line, type=Report))
        if self.is_finished or self._lines.ended:
            self._loop.forget(self._stdout.fileno())
        if not self.is_finished and self._lines.ended:
            raise ChildProcessError("a worker process ended before its time")

    def _take(self, report: Report) -> None:
        self.opened_count, self.last_opened = report.opened_count, report.last_opened
        self.failures, self.failure = report.failures, report.failure
        self.tally.received, self.tally.closed, self.tally.last = report.received, report.closed, report.last
        if report.indexes is not None:
            self.indexes = report.indexes
            self.is_settled = True
        if report.tally is not None:
            self.tally = report.tally
            self.is_finished = True


class Worker:
    """The other side: holds streams as told on one descriptor, reports on another."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._lines = Lines(stdin)
        self._loop = Loop()
        self._crew: LocalCrew | None = None
        self._told: tuple[int, ...] = ()
        self._has_settled = False

    def run(self) -> None:
        """Work until the end of the input."""
        self._loop.watch(self._stdin, READ, self._readable)
        next_news = 0.0
        while not self._lines.ended:
            self._loop.turn(NEWS)
            if self._crew and monotonic() >= next_news and self._has_news(self._crew):
                self._tell_news(self._crew)
                next_news = monotonic() + NEWS
        if self._crew:
            self._report(self._crew, tally=self._crew.tally)
            self._crew.close()
        self._loop.close()

    def _readable(self) -> None:
        for line in self._lines.read():
            self._crew = LocalCrew(self._loop, msgspec.json.decode(line, type=Share))
            self._crew.start()

    def _has_news(self, crew: LocalCrew) -> bool:
        return self._news(crew) != self._told

    def _tell_news(self, crew: LocalCrew) -> None:
        settles = crew.is_settled and not self._has_settled
        self._has_settled |= settles
        self._told = self._news(crew)
        self._report(crew, indexes=crew.indexes if settles else None)

    def _news(self, crew: LocalCrew) -> tuple[int, ...]:
        return crew.opened_count, crew.failures, crew.tally.received, crew.tally.closed

    def _report(self, crew: LocalCrew, *, indexes: list[int] | None = None, tally: Tally | None = None) -> None:
        told = (crew.opened_count, crew.last_opened, crew.failures, crew.failure)
        seen = (crew.tally.received, crew.tally.closed, crew.tally.last)
        data = msgspec.json.encode(Report(*told, *seen, indexes, tally)) + b"\n"
        while data:
            data = data[os.write(self._stdout, data) :]


def main() -> None:
    """Be a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process says what to do
    with suppress(BrokenPipeError):
        Worker(sys.stdin.fileno(), sys.stdout.fileno()).run()

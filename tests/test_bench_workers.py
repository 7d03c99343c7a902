import os
import signal
import subprocess
import sys
import threading
from typing import Any

import msgspec
import pytest

from bench_support import RUN, bench, faulty
from cli_support import DEADLINE
from tornado_sse.cli.bench import worker
from tornado_sse.cli.bench.crew import Share
from tornado_sse.cli.bench.plan import Server
from tornado_sse.cli.bench.sockets import resolve
from tornado_sse.cli.bench.tally import Tally


def share_of(url: str, *requests: bytes) -> Share:
    server = Server.at(url)
    return Share(resolve(server.host, server.port, tls=False), RUN, 0, list(requests))


def test_a_worker_tells_how_far_it_is_and_at_the_end_its_tally() -> None:
    to_worker, ours = os.pipe()
    theirs, from_worker = os.pipe()
    with faulty() as server:
        running = threading.Thread(target=worker.Worker(to_worker, from_worker).run)
        running.start()
        os.write(ours, msgspec.json.encode(share_of(server.url, b"GET / HTTP/1.1\r\n\r\n")) + b"\n")
        lines = worker.Lines(theirs)
        reports: list[worker.Report] = []
        while not reports or reports[-1].indexes is None:
            reports += [msgspec.json.decode(line, type=worker.Report) for line in lines.read()]
        os.close(ours)
        running.join(DEADLINE)
        os.close(from_worker)
        while not lines.ended:
            reports += [msgspec.json.decode(line, type=worker.Report) for line in lines.read()]
    assert [report.indexes for report in reports if report.indexes is not None] == [[0]]
    assert reports[-1].tally == Tally()
    for fd in (to_worker, theirs):
        os.close(fd)


def test_a_worker_that_is_told_nothing_ends() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    worker.Worker(reading, -1).run()
    os.close(reading)


def test_the_program_of_a_worker_ends_with_its_input_and_not_with_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[Any] = []
    monkeypatch.setattr(signal, "signal", lambda *args: handled.append(args))
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdin)
        worker.main()
    assert handled == [(signal.SIGINT, signal.SIG_IGN)]


class Dying(subprocess.Popen[bytes]):
    """A worker that ends at once."""

    def __init__(self, _command: list[str], **pipes: Any) -> None:
        super().__init__(["sh", "-c", "read line"], **pipes)


def test_a_worker_that_ends_before_its_time_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", Dying)
    with faulty() as server:
        result = bench(server.url, "--streams", "2", "--processes", "2")
    assert (result.exit_code, result.stderr) == (1, "Error: a worker process ended before its time\n")

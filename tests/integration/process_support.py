"""The real server as a process of its own."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

from server_support import SECRET

DEADLINE = 20.0


@dataclass
class Process:
    """A server process: its settings, where it listens, and what it logged so far."""

    settings: dict[str, object]
    url: str = ""
    admin_url: str = ""
    pid: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)

    def problems(self) -> list[dict[str, Any]]:
        """What it logged that it should not have."""
        return [line for line in self.log if line["level"] not in {"debug", "info"}]


@contextmanager
def server_process(**settings: object) -> Iterator[Process]:
    """Run `tornado_sse serve` on free ports, without coverage, until the block ends."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TORNADO_SSE_", "COVERAGE_"))}
    env |= {f"TORNADO_SSE_{name.upper()}": str(value) for name, value in settings.items()}
    flags = ["serve", "--port", "0", "--admin-port", "0", "--log-format", "json"]
    command = [sys.executable, "-m", "tornado_sse", *flags]
    env["TORNADO_SSE_JWT_SECRET"] = SECRET
    process = Process(settings)
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as running:
        process.pid = running.pid
        listening: Queue[dict[str, Any] | None] = Queue()
        reader = threading.Thread(target=_read_log, args=(running, process.log, listening))
        reader.start()
        try:
            addresses = listening.get(timeout=DEADLINE)
            assert addresses is not None, f"it ended before it listened: {process.log}"
            process.url, process.admin_url = addresses["public"], addresses["admin"]
            yield process
        finally:
            running.terminate()
            running.wait(DEADLINE)
            reader.join(DEADLINE)


def _read_log(
    running: subprocess.Popen[str], log: list[dict[str, Any]], listening: Queue[dict[str, Any] | None]
) -> None:
    assert running.stderr
    for text in running.stderr:
        line = json.loads(text) if text.startswith("{") else {"level": "raw", "event": text}
        log.append(line)
        if line["event"] == "listening":
            listening.put(line)
    listening.put(None)

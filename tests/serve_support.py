"""The real program as a process, whose log is read as it comes."""

import asyncio
import json
import os
import resource
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client_support import DEADLINE, until
from server_support import SECRET, Target

Line = dict[str, Any]


@dataclass
class Process(Target):
    """A process that serves, or tried to. `log` is what it wrote to stderr, line by line; what is no JSON is `raw`."""

    running: asyncio.subprocess.Process
    log: list[Line] = field(default_factory=list)
    output: str = ""

    def send_signal(self, number: signal.Signals) -> None:
        self.running.send_signal(number)

    def logged(self, event: str) -> list[Line]:
        return [line for line in self.log if line["event"] == event]

    async def until_logged(self, event: str, count: int = 1) -> list[Line]:
        await until(lambda: len(self.logged(event)) >= count)
        return self.logged(event)

    async def exit_code(self) -> int:
        async with asyncio.timeout(DEADLINE):
            return await self.running.wait()

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.running.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _read_log(process: Process) -> None:
    assert process.running.stderr
    async for raw in process.running.stderr:
        text = raw.decode().rstrip("\n")
        line = json.loads(text) if text.startswith("{") else {"event": "raw", "text": text}
        if line["event"] == "listening":
            process.port, process.admin_port = (int(line[name].rpartition(":")[2]) for name in ("public", "admin"))
        process.log.append(line)


async def _read_output(process: Process) -> None:
    assert process.running.stdout
    async for line in process.running.stdout:
        process.output += line.decode()


@asynccontextmanager
async def program(
    *flags: str, descriptors: int | None = None, code: str | None = None, **settings: object
) -> AsyncIterator[Process]:
    """Run `tornado-sse serve`, or `code` that does, with these settings in its environment."""

    def limit() -> None:
        if descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    settings = {"jwt_secret": SECRET, "port": 0, "admin_port": 0, "log_format": "json"} | settings
    env = {name: value for name, value in os.environ.items() if not name.startswith("TORNADO_SSE_")}
    env |= {f"TORNADO_SSE_{name.upper()}": str(value) for name, value in settings.items() if value is not None}
    what = ["-c", code] if code else ["-m", "tornado_sse", "serve", *flags]
    running = await asyncio.create_subprocess_exec(
        sys.executable, *what, env=env, stdout=PIPE, stderr=PIPE, preexec_fn=limit
    )
    process = Process(0, 0, time.time, running)
    readers = asyncio.gather(_read_log(process), _read_output(process))
    try:
        yield process
    finally:
        process.close_clients()
        if running.returncode is None:
            process.send_signal(signal.SIGTERM)  # no kill: then nobody would know which lines it ran
        await process.exit_code()
        await readers


@asynccontextmanager
async def served(*flags: str, **settings: Any) -> AsyncIterator[Process]:
    """Run it until it listens."""
    async with program(*flags, **settings) as process:
        await until(lambda: process.port or process.running.returncode is not None)
        assert process.port, process.log
        yield process

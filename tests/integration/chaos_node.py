"""A node as a process that somebody watches over: whenever it ends, it is started again."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nats_support import free_port
from outage_support import until
from server_support import SECRET

PATIENCE = 60.0
"""Seconds until a node must be ready again; the cluster may be without a leader meanwhile."""

PAUSE = 0.3
"""Seconds until a node that ended by itself is started again."""

SOUND = ("-m", "tornado_sse")
FAULTY = (str(Path(__file__).with_name("chaos_faulty.py")),)
"""What Python is to run: nodes as they are, or such that lose messages."""


class ChaosNode:
    """One node on ports of its own. `log` is where its log goes."""

    def __init__(self, name: str, log: Path, settings: Mapping[str, object], code: Sequence[str]) -> None:
        self.name = name
        self.port, self.admin_port = free_port(), free_port()
        self.log = log
        self.exits: list[tuple[int, float]] = []
        self._code = code
        self._settings = {"port": self.port, "admin_port": self.admin_port, "log_format": "json", **settings}
        self._process: Process | None = None
        self._may_start = asyncio.Event()
        self._may_start.set()

    @property
    def pid(self) -> int:
        """Name the process that runs."""
        assert self._process, "it was not started"
        return self._process.pid

    async def watch(self) -> None:
        """Keep it running until cancelled."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("TORNADO_SSE_", "COVERAGE_"))}
        env |= {f"TORNADO_SSE_{name.upper()}": str(value) for name, value in self._settings.items()}
        env |= {"TORNADO_SSE_JWT_SECRET": SECRET}
        with self.log.open("ab") as log:
            try:
                while True:
                    await self._may_start.wait()
                    command = [sys.executable, *self._code, "serve"]
                    self._process = await asyncio.create_subprocess_exec(*command, env=env, stdout=DEVNULL, stderr=log)
                    code = await self._process.wait()
                    self.exits.append((code, asyncio.get_running_loop().time()))
                    await asyncio.sleep(PAUSE)
            finally:
                await self._stop()

    async def kill(self, hold: float) -> None:
        """SIGKILL it, and keep it down so many seconds."""
        self._may_start.clear()
        await self._signal(signal.SIGKILL)
        await asyncio.sleep(hold)
        self._may_start.set()
        await self.ready()

    async def roll(self) -> float:
        """SIGTERM it and wait for the next one to be ready. Return how many seconds the old one took to go."""
        began = asyncio.get_running_loop().time()
        await self._signal(signal.SIGTERM)
        gone = self.exits[-1][1] - began
        await self.ready()
        return gone

    async def ready(self) -> None:
        """Wait until it is."""
        async with asyncio.timeout(PATIENCE):
            while not await self._is_ready():
                await asyncio.sleep(0.05)

    async def _signal(self, number: signal.Signals) -> None:
        exits = len(self.exits)
        if self._process and self._process.returncode is None:
            self._process.send_signal(number)
            await until(lambda: len(self.exits) > exits, PATIENCE)

    async def _stop(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _is_ready(self) -> bool:
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.admin_port)
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                try:
                    return (await reader.readline()).startswith(b"HTTP/1.1 200")
                finally:
                    writer.transport.abort()
        return False

    def problems(self) -> Iterator[dict[str, Any]]:
        """Give what it logged that nothing in the plan explains."""
        for text in self.log.read_text().splitlines():
            line = json.loads(text) if text.startswith("{") else {"level": "raw", "event": text}
            if line["level"] not in ("debug", "info") and "broker out of reach" not in line["event"]:
                yield line

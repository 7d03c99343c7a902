"""The proxies of deploy/proxies as real programs, with their own configurations: only addresses and times differ."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from signal import SIGHUP, SIGUSR2

from nats_support import free_port

FOLDER = Path(__file__).parents[2] / "deploy" / "proxies"
PATIENCE = 20.0
IDLE = "60s"
"""What the configurations say of a stream on which nothing moves."""


@dataclass(frozen=True)
class Kind:
    """A proxy: its program, its files, the command, and what makes it read its configuration anew (None: nothing)."""

    program: str
    files: tuple[str, ...]
    command: tuple[str, ...]
    reload: int | tuple[str, ...] | None


KINDS = {
    "nginx": Kind(
        "nginx",
        ("nginx.conf", "streams.nginx.conf"),
        ("nginx", "-p", "{folder}", "-c", "{folder}/nginx.conf", "-e", "{folder}/error.log", "-g", "daemon off;"),
        SIGHUP,
    ),
    "haproxy": Kind("haproxy", ("haproxy.cfg",), ("haproxy", "-W", "-f", "{folder}/haproxy.cfg"), SIGUSR2),
    "caddy": Kind(
        "caddy",
        ("Caddyfile",),
        ("caddy", "run", "--config", "{folder}/Caddyfile"),
        ("caddy", "reload", "--force", "--config", "{folder}/Caddyfile", "--address", "unix/{folder}/admin"),
    ),
    "envoy": Kind(
        "envoy",
        ("envoy.yaml",),
        ("envoy", "-c", "{folder}/envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "-l", "warn"),
        None,
    ),
}


@dataclass
class Proxy:
    """One that runs, and speaks TLS at `url`."""

    kind: Kind
    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def reload(self) -> None:
        """Have it read its configuration anew, and wait until it did."""
        before = self._children()
        if isinstance(self.kind.reload, tuple):
            subprocess.run(_filled(self.kind.reload, self.folder), check=True, timeout=PATIENCE, env=_env(self.folder))
        else:
            assert self.kind.reload is not None
            number, deadline = self.kind.reload, time.monotonic() + PATIENCE
            while not self._children() - before:  # HAProxy loses a signal that comes while it starts
                assert time.monotonic() < deadline, "no new worker"
                self.process.send_signal(number)
                time.sleep(0.2)

    def _children(self) -> set[str]:
        return set(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split())


@contextmanager
def proxy(
    name: str, folder: Path, ports: tuple[int, int], idle: str = IDLE, changes: Mapping[str, str] | None = None
) -> Iterator[Proxy]:
    """Run one before a server at these ports, the public and the admin one. `changes` are made to its files first."""
    kind, port = KINDS[name], free_port()
    certificate(folder)
    for file in kind.files:
        text = (FOLDER / file).read_text()
        for old, new in (changes or {}).items():
            text = text.replace(old, new)
        (folder / file).write_text(_adapted(text, folder, port, ports, idle))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(_filled(kind.command, folder), stdout=log, stderr=log, env=_env(folder))
        try:
            _until(lambda: _listens(port) or process.poll() is not None, "it does not listen")
            assert process.poll() is None, (folder / "log").read_text()
            yield Proxy(kind, f"https://localhost:{port}", folder, process)
        finally:
            _end(process)


def _adapted(text: str, folder: Path, port: int, ports: tuple[int, int], idle: str) -> str:
    public, admin = map(str, ports)
    for old, new in {
        IDLE: idle,
        "127.0.0.1:8080": f"127.0.0.1:{public}",
        "port_value: 8080": f"port_value: {public}",
        "port_value: 8081": f"port_value: {admin}",
        "port 8081": f"port {admin}",
        "health_port 8081": f"health_port {admin}",
        "listen 443": f"listen 127.0.0.1:{port}",
        "bind :443": f"bind 127.0.0.1:{port}",
        "address: 0.0.0.0, port_value: 443": f"address: 127.0.0.1, port_value: {port}",
        "sse.example.com {": f"https://localhost:{port} {{\n\ttls {folder}/fullchain.pem {folder}/key.pem",
        "\tgrace_period 10s": f"\tadmin unix/{folder}/admin\n\tauto_https disable_redirects\n\tgrace_period 1s",
        "/etc/ssl/sse": str(folder),
        "/etc/nginx/": f"{folder}/",
        "/var/log/nginx/": f"{folder}/",
        "/run/nginx.pid": f"{folder}/pid",
        "\nhttp {\n": f"\nhttp {{\n{_temporary(folder)}",
        "worker_rlimit_nofile 200000": "worker_rlimit_nofile 4000",
        "worker_connections 100000": "worker_connections 2000",
        "maxconn 100000": "maxconn 1000",
    }.items():
        text = text.replace(old, new)
    return text


def _temporary(folder: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"    {kind}_temp_path {folder};\n" for kind in kinds)


def _filled(command: tuple[str, ...], folder: Path) -> list[str]:
    return [part.format(folder=folder) for part in command]


def _env(folder: Path) -> Mapping[str, str]:
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    return os.environ | {"PATH": path, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}


@cache
def _certificate() -> tuple[bytes, bytes]:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "/dev/stdout", "-out", "/dev/stdout"]
    both = subprocess.run([*command.split(), *names], check=True, capture_output=True, timeout=PATIENCE).stdout
    key, middle, rest = both.partition(b"-----END PRIVATE KEY-----\n")
    return key + middle, rest


def certificate(folder: Path) -> None:
    """Put a key and its certificate where the configurations look for them."""
    key, chain = _certificate()
    for name, content in {"key.pem": key, "fullchain.pem": chain, "bundle.pem": chain + key}.items():
        (folder / name).write_bytes(content)


def _listens(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def _until(condition: Callable[[], object], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

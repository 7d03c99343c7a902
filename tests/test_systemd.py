"""What a service manager is told, read at a real socket, and sockets that it hands over, by systemd's own program."""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGHUP, SIGTERM

import pytest

from client_support import DEADLINE, Client
from nats_support import free_port
from nats_support import program as nats_program
from serve_support import served
from server_support import SECRET, token
from tornado_sse.config import ConfigProblem
from tornado_sse.systemd import ServiceManager
from workers_support import crew

US = os.getpid()


class Manager:
    """Hears what it is told."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind("\0" + address[1:] if address.startswith("@") else address)
        self._heard.settimeout(DEADLINE)

    def hears(self, seconds: float = DEADLINE) -> dict[str, str]:
        self._heard.settimeout(seconds)
        return dict(line.split("=", 1) for line in self._heard.recv(4096).decode().split("\n"))

    async def hears_of(self, name: str) -> dict[str, str]:
        """Hear until that is spoken of."""
        while name not in (told := await asyncio.to_thread(self.hears)):
            pass
        return told

    def close(self) -> None:
        self._heard.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@{secrets.token_hex(8)}")
    yield manager
    manager.close()


@pytest.mark.gen_test(timeout=20)
async def test_it_is_told_of_a_life(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    async with served(drain_time=2) as process:
        assert await manager.hears_of("READY") == {
            "READY": "1",
            "STATUS": f"listening at http://127.0.0.1:{process.port}",
        }
        process.send_signal(SIGHUP)
        assert int((await manager.hears_of("RELOADING"))["MONOTONIC_USEC"]) > 0
        assert await manager.hears_of("READY") == {"READY": "1"}
        process.send_signal(SIGTERM)
        stopping = await manager.hears_of("STOPPING")
        assert stopping == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "7000000", "STATUS": "draining 0 streams"}
        assert await process.exit_code() == 0


@pytest.mark.slow
@pytest.mark.gen_test(timeout=60)
async def test_the_supervisor_speaks_for_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nats_program()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    file = tmp_path / "sse.toml"
    file.write_text(f'jwt_secret = "{SECRET}"')
    manager = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    async with crew("--config", str(file), jwt_secret=None, drain_time=0) as process:
        status = f"listening at http://127.0.0.1:{process.port} with 2 workers"
        assert await asyncio.to_thread(manager.hears) == {"READY": "1", "STATUS": status}
        for text in (f'jwt_secret = "{SECRET}"\nretry = 3', "this is no TOML"):
            file.write_text(text)
            process.send_signal(SIGHUP)
            assert "RELOADING" in await asyncio.to_thread(manager.hears)
            assert await asyncio.to_thread(manager.hears) == {"READY": "1"}
        process.send_signal(SIGTERM)
        stopping = await asyncio.to_thread(manager.hears)
        assert stopping == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "5000000", "STATUS": "draining"}
    manager.close()


@pytest.mark.gen_test(timeout=20)
async def test_a_loop_that_turns_is_told_of_and_one_that_is_stuck_is_not(manager: Manager) -> None:
    told = ServiceManager.named_in(
        {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(US)}, US
    )
    told.ready()
    assert manager.hears() == {"READY": "1"}
    for _ in range(2):
        assert await asyncio.to_thread(manager.hears) == {"WATCHDOG": "1"}
    with pytest.raises(TimeoutError):
        manager.hears(0.3)  # the loop does not turn while this waits
    told.ready()
    assert manager.hears() == {"READY": "1"}
    assert await asyncio.to_thread(manager.hears) == {"WATCHDOG": "1"}


@pytest.mark.gen_test
async def test_a_watchdog_for_another_process_is_none_of_ours(manager: Manager) -> None:
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(US + 1)}
    ServiceManager.named_in(env, US).ready("here")
    assert manager.hears() == {"READY": "1", "STATUS": "here"}
    assert env == {}, "a process that we start would speak for us"
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(manager.hears, 0.05)


@pytest.mark.parametrize("address", ["", "/no/such/socket"])
def test_nobody_to_tell_is_no_matter(address: str) -> None:
    ServiceManager(address).ready()


# Sockets handed over


@pytest.fixture
def activate(need_program: Callable[[str], str]) -> Callable[..., list[str]]:
    """The command that listens at addresses, and at the first connection becomes the server."""
    activator = need_program("systemd-socket-activate")

    def command(*addresses: str, names: str = "public", **settings: object) -> list[str]:
        settings = {"jwt_secret": SECRET, "port": 0, "admin_port": 0, "log_format": "json", "drain_time": 0} | settings
        env = [f"--setenv=TORNADO_SSE_{name.upper()}={value}" for name, value in settings.items()]
        env += [
            f"--setenv={name}={value}" for name, value in os.environ.items() if name.startswith(("COVERAGE", "PATH"))
        ]
        listen = [f"--listen={address}" for address in addresses]
        return [activator, *listen, f"--fdname={names}", *env, sys.executable, "-m", "tornado_sse", "serve"]

    return command


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


async def connected(port: int) -> Client:
    """Connect as soon as somebody listens."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with suppress(ConnectionRefusedError):
                return await Client.to(port)
            await asyncio.sleep(0.01)


@pytest.mark.gen_test(timeout=20)
async def test_it_serves_at_sockets_that_were_there_before_it(activate: Callable[..., list[str]]) -> None:
    port, admin_port = free_port(), free_port()
    command = activate(f"127.0.0.1:{port}", f"127.0.0.1:{admin_port}", names="web:admin")
    with running(command) as process:
        client = await connected(port)  # nobody serves yet: the connection waits, and is not refused
        await client.request("/sse/connect/s1", {"Authorization": f"Bearer {token()}"})
        assert (await client.response()).status == 200
        admin = await connected(admin_port)
        await admin.request("/readyz")
        assert (await admin.response()).status == 200
        client.close()
        admin.close()
        process.terminate()
        _, log = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    (listening,) = [json.loads(line) for line in log.splitlines() if '"listening"' in line]
    assert listening["public"] == f"http://127.0.0.1:{port}"
    assert listening["admin"] == f"http://127.0.0.1:{admin_port}"


@pytest.mark.gen_test(timeout=20)
async def test_workers_take_no_socket(activate: Callable[..., list[str]]) -> None:
    port = free_port()
    with running(activate(f"127.0.0.1:{port}", workers=2, broker="nats://127.0.0.1:1")) as process:
        (await connected(port)).close()
        _, log = await asyncio.to_thread(process.communicate)
    assert process.returncode == 2
    assert "workers can't share" in log


def handed(monkeypatch: pytest.MonkeyPatch, descriptor: int, pid: int = US, count: int = 1) -> ServiceManager:
    """What becomes of a descriptor that is handed over."""
    monkeypatch.setattr("tornado_sse.systemd.FIRST", descriptor)
    return ServiceManager.named_in({"LISTEN_PID": str(pid), "LISTEN_FDS": str(count)}, US)


def test_a_socket_without_a_name_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        manager = handed(monkeypatch, os.dup(listening.fileno()))
        (public,) = manager.public
        with public:
            assert (public.getsockname(), manager.admin) == (listening.getsockname(), [])
            assert (public.getblocking(), public.get_inheritable()) == (False, False)


def test_what_was_handed_to_another_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert handed(monkeypatch, listening.fileno(), pid=US + 1).public == []
        assert listening.fileno() >= 0


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_what_does_not_listen_for_tcp_is_refused(monkeypatch: pytest.MonkeyPatch, family: int) -> None:
    other = socket.socket(family)
    if family == socket.AF_UNIX:
        other.bind("\0" + secrets.token_hex(8))
        other.listen()
    with other, pytest.raises(ConfigProblem, match="no listening TCP socket"):
        handed(monkeypatch, os.dup(other.fileno()))


def test_what_is_no_socket_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(ConfigProblem, match="is no socket"):
        handed(monkeypatch, file.fileno())

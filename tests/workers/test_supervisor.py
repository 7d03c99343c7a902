"""Several workers on one port, shown on real processes."""

import json
import os
import secrets
import socket
import stat
import time
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGSTOP, SIGTERM

import pytest

from client_support import DEADLINE, Client, until
from nats_support import free_port, shared_server
from nats_support import program as nats_program
from serve_support import Process, program
from server_support import SECRET
from tornado_sse import tokens
from workers_support import (
    BODY,
    alive,
    broker,
    crew,
    everyone,
    figure,
    publish,
    streams_everywhere,
    until_ready,
    workers,
)

OTHER_SECRET = "another secret, just as long as that"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the private broker has its files."""
    nats_program()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


async def ask_admin(process: Process, path: str, method: str = "GET") -> tuple[int, str]:
    answer = await process.ask(path, method=method, user=None, admin=True)
    return answer.status, answer.json().get("status") if method != "HEAD" else ""


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def minted(process: Process) -> str:
    headers = BODY | process.bearer(scopes=["sessions"])
    answer = await process.ask("/sse/sessions", headers, method="POST", body=b'{"userId": "u1"}', user=None)
    return str(answer.json()["sessionId"])


@pytest.mark.slow
@pytest.mark.gen_test
async def test_workers_are_one_server(temporary: Path) -> None:
    async with crew() as process:
        (line,) = process.logged("listening")
        assert line["workers"] == 2
        clients = await streams_everywhere(process)
        texts = [f"m{number}" for number in range(10)]  # each by a connection of its own, so through either worker
        for text in texts:
            assert await publish(process, text) == 200
        for client in clients:
            assert [await client.data() for _ in texts] == texts
        published = await figure(process, "messages_published_total")
        assert published.keys() == {"0", "1"}
        assert await figure(process, "worker_up") == {"0": 1, "1": 1}
        session = await minted(process)
        for _ in range(4):
            await (await process.connect(session, user="u1", headers={"Authorization": ""})).block()
        assert await ask_admin(process, "/readyz") == (200, "ready")
        assert await ask_admin(process, "/healthz") == (200, "ok")
        assert await ask_admin(process, "/nothing") == (404, "NOT_FOUND")
        assert await ask_admin(process, "/metrics", "POST") == (405, "METHOD_NOT_ALLOWED")
        assert await ask_admin(process, "/readyz", "HEAD") == (200, "")
        check_secrecy(process, temporary)
        for client in process.clients:
            client.close()
        process.send_signal(SIGTERM)
        assert await process.exit_code() == 0
        assert [line["code"] for line in process.logged("stopped")] == [0, 0, 0]
        assert process.output == ""
        assert not names(temporary)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_session_is_lengthened_and_ended_through_any_worker() -> None:
    async with crew() as process:
        client = await process.opened(ttl=20)
        assert (await client.event()).event == "stream-expiring"
        statuses = set()
        for ttl in range(210, 290, 2):  # a connection each: the kernel deals them out to the workers
            answer = await process.ask("/sse/sessions/s1/refresh", process.bearer(ttl=ttl / 10), method="POST")
            statuses.add(answer.status)
            warning = await client.event()
            assert warning.event == "stream-expiring"
            assert warning.json()["expiresIn"] <= round(ttl / 10)
            if len(statuses) == 2:
                break
        assert statuses == {200, 202}
        clients = {f"s{number}": await process.opened(f"s{number}") for number in range(1, 9)}
        for session, client in clients.items():
            assert (await process.ask(f"/sse/disconnect/{session}", method="DELETE")).status == 200
            assert (await client.rest())[-1].json() == {"reason": "disconnected", "reconnect": False}


def check_secrecy(process: Process, temporary: Path) -> None:
    """The token that opens the private broker is where it should be and nowhere else."""
    (folder,) = temporary.iterdir()
    file = folder / "nats.conf"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]
    content = json.loads(file.read_text())
    assert content["host"] == "127.0.0.1"
    token = content["authorization"]["token"]
    assert len(token) >= 32
    for pid in (process.running.pid, *everyone(process)):
        for source in ("cmdline", "environ"):
            seen = Path(f"/proc/{pid}/{source}").read_bytes()
            assert token.encode() not in seen
            assert source == "environ" or SECRET.encode() not in seen
    assert token not in json.dumps(process.log)


async def worker_of(process: Process, before: dict[str, float]) -> int:
    """The worker that has one stream more than before."""
    after = await figure(process, "open_streams")
    (worker,) = [worker for worker, count in after.items() if count > before[worker]]
    return int(worker)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_worker_that_dies_is_replaced_and_its_client_resumes_without_a_hole() -> None:
    async with crew() as process:
        client = await process.opened()
        worker = await worker_of(process, {"0": 0, "1": 0})
        await publish(process, "first")
        first = await client.event()
        os.kill(workers(process)[worker], SIGKILL)
        assert await client.read_all() == b""
        await until(lambda: process.logged("worker ended"))
        assert await publish(process, "missed") == 200
        again = await process.connect(headers={"Last-Event-ID": str(first.id)})
        assert await again.data() == "missed"
        await process.until_logged("worker started", 3)
        await until_ready(process)
        assert (await figure(process, "worker_restarts_total"))[str(worker)] == 1
        await streams_everywhere(process)
        await publish(process, "live")
        assert await again.data() == "live"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_nobody_outlives_the_supervisor(temporary: Path) -> None:
    async with crew() as process:
        pids = everyone(process)
        assert len(pids) == 3
        assert all(map(alive, pids))
        process.send_signal(SIGKILL)
        assert await process.exit_code() == -SIGKILL
        await until(lambda: not any(map(alive, pids)))
    (left,) = names(temporary)
    async with crew():
        assert left not in names(temporary)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_broker_that_dies_comes_back_with_what_it_had_and_streams_stay() -> None:
    async with crew() as process:
        clients = await streams_everywhere(process)
        assert await publish(process, "before") == 200
        statuses = set()
        os.kill(broker(process), SIGSTOP)
        statuses.add(await publish(process, "into the void"))
        os.kill(broker(process), SIGKILL)
        await process.until_logged("private NATS started", 2)
        await until_ready(process)
        assert await publish(process, "after") == 200
        assert statuses == {503}
        for client in clients:
            events = [await client.event()]
            while events[-1].data != "after":
                events.append(await client.event())
            assert events[0].data == "before"
            assert [event.event for event in events] == [None] * len(events)
        assert process.logged("private NATS ended")[0]["code"] == -SIGKILL


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_broker_of_ones_own_needs_no_private_one(temporary: Path) -> None:
    settings = {"broker": shared_server().url, "broker_prefix": "t" + secrets.token_hex(6)}
    async with crew(count=3, **settings) as process:
        assert len(everyone(process)) == 3
        clients = await streams_everywhere(process)
        await publish(process, "hello")
        assert {await client.data() for client in clients} == {"hello"}
        assert not names(temporary)


async def farewell(client: Client) -> str:
    """The reason in a stream's farewell; it must end rightly."""
    (event,) = await client.rest()
    return str(event.json()["reason"])


@pytest.mark.slow
@pytest.mark.gen_test
async def test_all_drain_at_the_same_time_and_a_second_signal_ends_it() -> None:
    async with crew(drain_time=1) as process:
        clients = await streams_everywhere(process)
        for pid in (process.running.pid, *workers(process).values()):
            os.kill(pid, SIGTERM)  # as a service manager may, that signals all processes of a service
        await process.until_logged("draining", 3)
        assert await ask_admin(process, "/readyz") == (503, "SERVICE_UNAVAILABLE")
        assert [await farewell(client) for client in clients] == ["draining"] * len(clients)
        assert await process.exit_code() == 0
    async with crew(drain_time=10 * DEADLINE) as process:
        await process.opened()
        process.send_signal(SIGINT)
        await process.until_logged("draining", 3)
        process.send_signal(SIGTERM)
        assert await process.exit_code() == 3


@pytest.mark.slow
@pytest.mark.gen_test
async def test_one_that_is_just_starting_stops_as_well() -> None:
    async with program(workers=2) as process:
        await process.until_logged("private NATS started")
        process.send_signal(SIGTERM)
        assert await process.exit_code() == 0
    assert not any(map(alive, everyone(process)))


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_worker_that_hangs_is_left_out_and_not_waited_for_forever() -> None:
    async with crew(drain_time=0) as process:
        hangs = workers(process)[1]
        os.kill(hangs, SIGSTOP)
        assert await figure(process, "worker_up", hanging=1) == {"0": 1, "1": 0}
        assert (await figure(process, "ready", hanging=1)).keys() == {"0"}
        assert await ask_admin(process, "/readyz") == (200, "ready")
        process.send_signal(SIGTERM)
        assert await process.exit_code() == 1


async def status(process: Process, secret: str) -> int:
    signed = tokens.sign(secret, user="u1", ttl=60, now=time.time())
    headers = {"Authorization": f"Bearer {signed}"}
    return (await process.ask("/sse/connect/s2", headers, method="HEAD", user=None)).status


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_reload_reaches_all_workers_and_those_that_come_later(tmp_path: Path) -> None:
    file = tmp_path / "sse.toml"

    def write(secret: str, **settings: object) -> None:
        lines = [f"{name} = {json.dumps(value)}" for name, value in {"jwt_secret": secret, **settings}.items()]
        file.write_text("\n".join(lines))

    write(SECRET)
    async with crew("--config", str(file), jwt_secret=None) as process:
        bad_ones: list[dict[str, object]] = [{"retry": -1}, {"jwt_algorithms": ["RS256"]}]
        for number, bad in enumerate(bad_ones, 1):
            write(OTHER_SECRET, **bad)
            process.send_signal(SIGHUP)
            await process.until_logged("reload refused, all stays as it was", number)
        assert {await status(process, SECRET) for _ in range(6)} == {200}
        write(OTHER_SECRET, retry=3)
        process.send_signal(SIGHUP)
        (line,) = await process.until_logged("reloaded")
        assert line["restart_needed_for"] == ["retry"]
        assert {await status(process, OTHER_SECRET) for _ in range(6)} == {200}
        for pid in workers(process).values():
            os.kill(pid, SIGKILL)
        await process.until_logged("worker started", 4)
        await until_ready(process)
        assert {await status(process, SECRET) for _ in range(6)} == {401}


@pytest.mark.slow
@pytest.mark.gen_test
async def test_dev_mode_has_one_secret_and_prints_links() -> None:
    async with crew("--dev", jwt_secret=None) as process:
        await until(lambda: process.output.endswith("\n\n"))
        assert process.output.count("http://") == 2
        answer = await process.ask(
            "/demo/session", {"Sec-Fetch-Site": "same-origin"}, method="POST", body=b'{"name": "ann"}'
        )
        assert answer.status == 201, answer
        for _ in range(6):
            path = f"/sse/connect/{answer.json()['sessionId']}"
            assert (await process.ask(path, method="HEAD", user=None)).status == 200


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_fails_at_the_start_is_said_once() -> None:
    async with program(workers=3, jwt_algorithms="RS256") as process:
        assert await process.exit_code() == 2
    assert [line["event"] for line in process.log if line["level"] == "error"] == ["refused"]
    async with program(workers=3, broker=f"nats://127.0.0.1:{free_port()}", broker_probe=0.2) as process:
        assert await process.exit_code() == 1
    assert [line["event"] for line in process.log if line["level"] == "error"] == ["broker out of reach"]


@pytest.mark.parametrize("listener", ["port", "admin_port"])
@pytest.mark.gen_test
async def test_an_address_that_is_taken_is_exit_code_1(listener: str, temporary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with program(workers=2, **{listener: port}) as process:
            assert await process.exit_code() == 1
    (line,) = process.log
    assert (line["problem"], line["setting"], line["port"]) == ("Address already in use", listener, port)
    assert not names(temporary)


@pytest.mark.gen_test
async def test_a_private_broker_that_does_not_start_is_exit_code_1() -> None:
    code = (
        "from tornado_sse.workers import embedded; embedded.PATIENCE = 0\n"
        "from tornado_sse.cli import main; main(['serve'])"
    )
    async with program(workers=2, code=code) as process:
        assert await process.exit_code() == 1
    line = process.log[-1]  # before it there may be a word of NATS's, whose files went away under it
    assert (line["event"], line["problem"]) == ("no private NATS", "nats-server does not start")


@pytest.mark.gen_test
async def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['nats'] = None; from tornado_sse.cli import main; main(['serve'])"
    async with program(workers=2, code=code) as process:
        assert await process.exit_code() == 2
    (line,) = process.log
    assert "pip install '.[cluster]'" in line["problem"]

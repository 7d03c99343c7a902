"""The life of a server, shown on real processes."""

import asyncio
import json
import re
import secrets
import socket
import time
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM

import pytest

from client_support import Client, Response, until
from nats_support import free_port, shared_server
from serve_support import Process, program, served
from server_support import SECRET
from tcp_proxy import tcp_proxy
from tornado_sse import __version__, tokens
from tornado_sse.config import Settings
from tornado_sse.lifecycle import AT_START, Exit
from tornado_sse.log import fingerprint

SESSION = "a-session-id-that-must-not-be-logged"
OTHER_SECRET = "another secret, just as long as that"


async def ready(process: Process) -> Response:
    return await process.ask("/readyz", user=None, admin=True)


async def publish(process: Process, text: str) -> None:
    body = json.dumps({"to": "all", "data": text}).encode()
    assert (await process.ask("/sse/publish", method="POST", body=body)).status == 200


@pytest.mark.gen_test(timeout=20)
async def test_listens_serves_and_stops() -> None:
    async with served() as process:
        (line,) = process.logged("listening")
        assert line == {
            "time": line["time"],
            "level": "info",
            "event": "listening",
            "public": f"http://127.0.0.1:{process.port}",
            "admin": f"http://127.0.0.1:{process.admin_port}",
            "version": __version__,
            "dev": False,
        }
        assert (await ready(process)).status == 200
        client = await process.opened(SESSION)
        await publish(process, "hello")
        assert await client.data() == "hello"
        client.close()
        (closed,) = await process.until_logged("stream closed")
        assert closed["session"] == fingerprint(SESSION)
        assert (closed["reason"], closed["messages"], closed["user"]) == ("client_gone", 1, "u1")
        assert closed["duration"] >= 0
        process.send_signal(SIGTERM)
        assert await process.exit_code() == 0
        assert process.logged("draining")[0]["signal"] == "SIGTERM"
        assert process.logged("draining")[0]["streams"] == 0
        assert process.logged("stopped")[0]["code"] == 0
        assert process.output == ""
        events = ["listening", "stream closed", "draining", "stopped"]
        assert [line["event"] for line in process.log] == events
        assert SESSION not in json.dumps(process.log)
        assert "eyJ" not in json.dumps(process.log)


@pytest.mark.gen_test(timeout=20)
async def test_dev_mode_prints_links_to_the_demo_and_the_console() -> None:
    async with served("--dev", jwt_secret=None) as process:
        await until(lambda: process.output.endswith("\n\n"))
        demo, console = re.findall(r"http://\S+", process.output)
        assert demo == f"http://127.0.0.1:{process.port}/demo"
        page, _, token = console.partition("#token=")
        assert page == f"http://127.0.0.1:{process.admin_port}/console"
        headers = {"Authorization": f"Bearer {token}"}
        assert (await process.ask("/api/sessions", headers, user=None, admin=True)).status == 200
        response = await process.ask("/demo", user=None)
        assert response.status in (200, 301, 302)


async def closing_time(client: Client) -> float:
    """When the stream's farewell came; it must end rightly."""
    event = await client.event()
    at = time.monotonic()
    assert event.json() == {"reason": "draining", "reconnect": True}
    assert 1000 <= (event.retry or 0) <= 3000
    assert await client.rest() == []
    return at


async def last_ready(process: Process) -> float:
    """When the node last said that it was ready."""
    at = 0.0
    client = await process.client(admin=True)
    while True:
        asked = time.monotonic()
        await client.request("/readyz")
        if (await client.response()).status != 200:
            return at
        at = asked


@pytest.mark.gen_test(timeout=20)
async def test_a_drain_lets_streams_go_evenly_over_its_time() -> None:
    async with served(drain_time=2, max_streams_per_user=0) as process:
        clients = [await process.opened(f"s{number}") for number in range(50)]
        closings = asyncio.gather(*[closing_time(client) for client in clients])
        was_ready = asyncio.create_task(last_ready(process))
        start = time.monotonic()
        process.send_signal(SIGTERM)
        await was_ready
        assert (await ready(process)).json()["message"] == "draining"
        shed = await process.connect("late")
        assert [block.json()["reason"] for block in await shed.rest()] == ["draining"]
        times = [at - start for at in sorted(await closings)]
        assert await process.exit_code() == 0
    assert was_ready.result() - start < times[0], "no stream was closed before readiness failed"
    assert times[-1] < 2.3
    assert times[-1] - times[0] > 1.4
    for number, at in enumerate(times):
        assert abs(at - times[0] - 1.8 * number / 50) < 0.4, f"stream {number} left out of turn, at {at}"
    assert len(process.logged("stream closed")) == 50


@pytest.mark.gen_test(timeout=20)
async def test_what_is_under_way_when_a_drain_is_over_is_still_answered() -> None:
    async with tcp_proxy(shared_server().port) as gate:
        nats = f"nats://127.0.0.1:{gate.port}"
        async with served(broker=nats, broker_prefix="t" + secrets.token_hex(6), broker_probe=5) as process:
            gate.stall()
            publishing = asyncio.create_task(process.ask("/sse/publish", method="POST", body=b'{"to":"all","data":1}'))
            await process.ask("/healthz", user=None)  # when that is answered the publish was read
            process.send_signal(SIGTERM)
            await process.until_logged("draining")
            gate.flow()
            response = await publishing
            assert await process.exit_code() == 0
    assert response.status == 200
    assert response.headers["connection"] == "close"


@pytest.mark.gen_test(timeout=20)
async def test_a_second_signal_ends_it_at_once() -> None:
    async with served(drain_time=60) as process:
        await process.opened()
        process.send_signal(SIGINT)
        await process.until_logged("draining")
        start = time.monotonic()
        process.send_signal(SIGTERM)
        assert await process.exit_code() == 3
        assert time.monotonic() - start < 5
        assert process.logged("stopped")[0]["code"] == 3


@pytest.mark.parametrize("listener", ["port", "admin_port"])
@pytest.mark.gen_test(timeout=20)
async def test_an_address_that_is_taken_is_exit_code_1(listener: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with program(**{listener: port}) as process:
            assert await process.exit_code() == 1
    (line,) = process.logged("can't listen")
    assert (line["problem"], line["setting"], line["port"]) == ("Address already in use", listener, port)


@pytest.mark.gen_test(timeout=20)
async def test_sharing_a_port_is_warned_of() -> None:
    async with served(reuse_port=True) as process:
        (line,) = await process.until_logged(
            "without a broker processes on one port share no messages: replace one, do not add one"
        )
        assert line["level"] == "warning"


@pytest.mark.gen_test(timeout=20)
async def test_bad_settings_are_exit_code_2() -> None:
    async with program(port="99999") as process:
        assert await process.exit_code() == 2
    assert not process.logged("listening")


@pytest.mark.gen_test(timeout=20)
async def test_keys_that_serve_no_algorithm_are_exit_code_2() -> None:
    async with program(jwt_algorithms="RS256") as process:
        assert await process.exit_code() == 2
    (line,) = process.logged("refused")
    assert "there is no key" in line["problem"]


@pytest.mark.gen_test(timeout=20)
async def test_a_broker_out_of_reach_is_exit_code_1() -> None:
    async with program(broker=f"nats://127.0.0.1:{free_port()}", broker_probe=0.2) as process:
        assert await process.exit_code() == 1
    assert "NATS" in process.logged("broker out of reach")[0]["problem"]


@pytest.mark.gen_test(timeout=20)
async def test_a_broker_set_up_otherwise_is_exit_code_2() -> None:
    prefix = "t" + secrets.token_hex(6)
    async with served(broker=shared_server().url, broker_prefix=prefix):
        async with program(broker=shared_server().url, broker_prefix=prefix, history_size=7) as process:
            assert await process.exit_code() == 2
        assert "the settings want 7" in process.logged("refused")[0]["problem"]


@pytest.mark.gen_test(timeout=20)
async def test_a_file_for_the_broker_that_is_not_there_is_exit_code_2() -> None:
    async with program(broker="tls://127.0.0.1", broker_ca="/no/such/file") as process:
        assert await process.exit_code() == 2
    assert "a file for the broker" in process.logged("refused")[0]["problem"]


class Configured:
    """A process with a TOML file, which is written anew and read at SIGHUP."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def write(self, secret: str = SECRET, **settings: object) -> None:
        lines = [f"{name} = {json.dumps(value)}" for name, value in {"jwt_secret": secret, **settings}.items()]
        self.file.write_text("\n".join(lines))

    async def reload(self, process: Process, secret: str = SECRET, **settings: object) -> dict[str, object]:
        """Have it read new settings; return what it logs of that."""
        self.write(secret, **settings)
        count = len(process.log)
        process.send_signal(SIGHUP)
        await until(lambda: any(line["event"].startswith("reload") for line in process.log[count:]))
        return process.log[-1]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    return Configured(tmp_path / "sse.toml")


async def status(process: Process, secret: str, session: str = "s2") -> int:
    signed = tokens.sign(secret, user="u1", ttl=60, now=time.time())
    headers = {"Authorization": f"Bearer {signed}"}
    return (await process.ask(f"/sse/connect/{session}", headers, method="HEAD", user=None)).status


@pytest.mark.gen_test(timeout=20)
async def test_a_reload_takes_new_keys_and_limits_and_open_streams_stay(configured: Configured) -> None:
    configured.write()
    async with served("--config", str(configured.file), jwt_secret=None) as process:
        client = await process.opened()
        await publish(process, "before")
        assert (await status(process, SECRET), await status(process, OTHER_SECRET)) == (200, 401)
        line = await configured.reload(process, OTHER_SECRET, max_streams_per_user=1, keepalive=7, retry=3)
        assert line["event"] == "reloaded"
        assert line["restart_needed_for"] == ["keepalive", "retry"]
        assert (await status(process, SECRET), await status(process, OTHER_SECRET)) == (401, 200)
        assert await client.data() == "before"
        signed = tokens.sign(OTHER_SECRET, user="u1", ttl=60, now=time.time())
        response = await process.ask("/sse/connect/s2", {"Authorization": f"Bearer {signed}"}, user=None)
        assert response.status == 429


@pytest.mark.gen_test(timeout=20)
async def test_a_reload_that_is_refused_keeps_everything(configured: Configured) -> None:
    configured.write(OTHER_SECRET)
    async with served("--config", str(configured.file), jwt_secret=None) as process:
        for bad in ({"retry": -1}, {"no_such_setting": 1}, {"jwt_algorithms": ["RS256"]}):
            line = await configured.reload(process, SECRET, **bad)
            assert line["event"] == "reload refused, all stays as it was"
            assert line["problem"]
            assert (await status(process, SECRET), await status(process, OTHER_SECRET)) == (401, 200)
        configured.file.write_text("this is no TOML")
        process.send_signal(SIGHUP)
        await process.until_logged("reload refused, all stays as it was", 4)
        assert await status(process, OTHER_SECRET) == 200
        line = await configured.reload(process, SECRET, drain_time=0)
        assert await status(process, SECRET) == 200
        process.send_signal(SIGTERM)
        assert await process.exit_code() == 0
        assert process.logged("draining")[0]["seconds"] == 0


FAILING = """
from tornado_sse.cli import main
from tornado_sse.handlers.connect import ConnectHandler

async def get(self, session_id):
    raise RuntimeError(f"{self.request.uri} {dict(self.request.headers)}")

ConnectHandler.get = get
main(["serve"])
"""


@pytest.mark.gen_test(timeout=20)
async def test_an_error_is_logged_whole_but_without_its_secrets() -> None:
    async with served(code=FAILING, query_token="true") as process:
        headers = process.bearer()
        token = headers["Authorization"].removeprefix("Bearer ")
        response = await process.ask(f"/sse/connect/{SESSION}?access_token={token}", headers, user=None)
        assert (response.status, response.json()["status"]) == (500, "INTERNAL_SERVER_ERROR")
        (line,) = await process.until_logged("request failed")
        assert "RuntimeError" in line["exception"]
        text = json.dumps(process.log)
        assert SESSION not in text
        assert token not in text
        assert token.rpartition(".")[2] not in text
        assert SESSION not in response.body.decode()


def test_exit_codes_are_what_the_documentation_says() -> None:
    codes = {code.name: int(code) for code in Exit}
    assert codes == {"DRAINED": 0, "FAILED": 1, "REFUSED": 2, "CUT_SHORT": 3}


def test_settings_that_a_reload_can_not_change_are_settings() -> None:
    assert set(AT_START) < Settings.model_fields.keys()

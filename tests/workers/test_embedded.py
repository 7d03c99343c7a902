"""The private NATS server: the real one, and programs that stand in for one that fails."""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from client_support import until
from nats_support import program
from tornado_sse.config import ConfigProblem, Settings
from tornado_sse.errors import Unavailable
from tornado_sse.workers import embedded
from tornado_sse.workers.embedded import EmbeddedNats
from workers_support import alive

Log = list[MutableMapping[str, Any]]

SETTINGS = Settings(dev=True)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program()
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def log() -> Iterator[Log]:
    with capture_logs() as lines:
        yield lines


def stand_in(server: EmbeddedNats, script: str) -> None:
    """Have a shell script be the program; its second argument is the configuration."""
    file = server._folder.write("program", f"#!/bin/sh\nfolder=$(dirname $2)\n{script}\n".encode())
    file.chmod(0o700)
    server._program = str(file)


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


LISTENS = 'echo \'{"nats":["nats://127.0.0.1:1"]}\' > $folder/nats-server_$$.ports'


@asynccontextmanager
async def private() -> AsyncIterator[EmbeddedNats]:
    server = EmbeddedNats(SETTINGS)
    try:
        yield server
    finally:
        await server.close()


async def connects(settings: Settings, token: str) -> bool:
    """Whether the server is there, and lets one in who says this."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(settings.broker).port)
    except OSError:
        return False
    writer.write(b"CONNECT " + json.dumps({"verbose": True, "auth_token": token}).encode() + b"\r\n")
    said = [await reader.readline() for _ in range(2)]
    writer.close()
    await writer.wait_closed()
    return said[1] == b"+OK\r\n"


def token_of(settings: Settings) -> str:
    assert settings.broker_token
    return settings.broker_token.get_secret_value()


@pytest.mark.gen_test
async def test_it_is_there_for_who_has_its_token_and_goes_without_a_trace(temporary: Path) -> None:
    async with private() as server:
        await server.start()
        led = server.lead(SETTINGS)
        assert led == SETTINGS.model_copy(update={"broker": led.broker, "broker_token": led.broker_token})
        assert await connects(led, token_of(led))
        assert not await connects(led, "wrong")
        assert not await connects(led, "")
        assert server._process
        pid = server._process.pid
    assert not alive(pid)
    assert is_empty(temporary)


@pytest.mark.gen_test
async def test_one_that_dies_comes_back_where_it_was(log: Log) -> None:
    async with private() as server:
        await server.start()
        led, real = server.lead(SETTINGS), server._program
        stand_in(server, "echo 'nats-server: no way' >&2; exit 4")
        assert server._process
        os.kill(server._process.pid, SIGKILL)
        await until(lambda: any(line["event"] == "private NATS does not start" for line in log))
        server._program = real
        while not await connects(led, token_of(led)):
            await asyncio.sleep(0.01)
    events = [(line["event"], line.get("code") or line.get("problem") or line.get("text")) for line in log]
    assert ("private NATS ended", -SIGKILL) in events
    assert ("private NATS says", "no way") in events
    assert ("private NATS does not start", "nats-server ended with code 4") in events


@pytest.mark.gen_test
async def test_one_that_hangs_at_its_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PATIENCE", 0.1)
    async with private() as server:
        stand_in(server, "exec sleep 60")
        with pytest.raises(Unavailable, match="does not start"):
            await server.start()
        assert server._process
        pid = server._process.pid
    assert not alive(pid)


@pytest.mark.gen_test
async def test_one_that_does_not_want_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with private() as server:
        stand_in(server, f"trap '' TERM\n{LISTENS}\nwhile :; do sleep 0.1; done")
        await server.start()
        assert server.lead(SETTINGS).broker == "nats://127.0.0.1:1"
        monkeypatch.setattr(embedded, "PATIENCE", 0.1)
        assert server._process
        pid = server._process.pid
    assert not alive(pid)


def test_without_the_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_kwargs: None)
    with pytest.raises(ConfigProblem, match=r"'\.\[cluster\]'"):
        EmbeddedNats(SETTINGS)


def test_without_a_place_for_its_files_it_says_so(temporary: Path) -> None:
    temporary.rmdir()
    with pytest.raises(ConfigProblem, match="no folder for the private NATS"):
        EmbeddedNats(SETTINGS)

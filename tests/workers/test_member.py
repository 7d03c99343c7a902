"""One worker process, spoken to as the supervisor does; alone it needs no broker."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import SIGHUP, SIGTERM
from typing import Any, cast
from unittest import mock

import pytest

from server_support import SECRET
from tornado_sse.config import Settings
from tornado_sse.console.operations import Find, Look, Page, Refused, Sample, Send
from tornado_sse.workers import tether
from tornado_sse.workers.member import Member
from tornado_sse.workers.words import Channel, Figures, Order, Report

PATIENCE = 20.0


def settings(**others: Any) -> Settings:
    return Settings(**{"jwt_secret": SECRET, "port": 0, "log_format": "json"} | others)


@asynccontextmanager
async def member(**others: Any) -> AsyncIterator[Member]:
    one = await Member.begin(3, settings(**others))
    try:
        yield one
    finally:
        one.stop(at_once=True)
        await one.ended()


@pytest.mark.gen_test
async def test_it_listens_tells_takes_settings_and_drains(capfd: pytest.CaptureFixture[str]) -> None:
    async with member() as one:
        assert await one.listening()
        figures = await one.figures(PATIENCE)
        assert figures
        assert figures.ready
        assert "tornado_sse_open_streams 0.0\n" in figures.metrics
        assert await one.take(settings(max_streams=1), PATIENCE) is None
        problem = await one.take(settings(jwt_algorithms="RS256"), PATIENCE)
        assert problem
        assert "there is no key" in problem
        os.kill(one.pid, SIGHUP)  # is for the supervisor alone
        assert await one.figures(PATIENCE)
        one.stop()
        one.stop()
        assert await one.ended() == 0
        assert await one.figures(0.05) is None
    assert '"event":"stopped","code":0,"worker":3}' in capfd.readouterr().err


@pytest.mark.gen_test
async def test_it_does_what_the_console_asks_for() -> None:
    async with member() as one:
        assert await one.listening()
        assert isinstance(await one.perform(Look(), PATIENCE), Sample)
        assert await one.perform(Find(search="nobody"), PATIENCE) == Page(0, [])
        refused = await one.perform(Send("nowhere", "hello"), PATIENCE)
        assert isinstance(refused, Refused)
        assert refused.status == 400


@pytest.mark.gen_test
async def test_a_signal_drains_it_too() -> None:
    async with member() as one:
        assert await one.listening()
        os.kill(one.pid, SIGTERM)
        assert await one.ended() == 0
        one.kill()


@pytest.mark.gen_test
async def test_it_ends_when_nobody_speaks_to_it_any_more() -> None:
    async with member() as one:
        assert await one.listening()
        one._channel.close()
        await one.ended()


@pytest.mark.gen_test
async def test_it_does_not_listen_on_a_port_of_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with member(port=taken.getsockname()[1]) as one:
            assert not await one.listening()
            assert await one.ended() == 1


@pytest.mark.gen_test
async def test_without_a_word_it_ends() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = await tether.start([sys.executable, "-m", "tornado_sse.workers.worker"], stdin=theirs)
    ours.close()
    assert await process.wait() == 1


@pytest.mark.gen_test
async def test_a_process_that_can_not_be_started_is_an_oserror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    with pytest.raises(FileNotFoundError):
        await Member.begin(0, settings())


class FakeChannel:
    """Carries what the test says."""

    def __init__(self) -> None:
        self.said: list[Order] = []
        self.reports: asyncio.Queue[Report] = asyncio.Queue()

    def say(self, order: Order) -> None:
        self.said.append(order)

    async def hear(self) -> Report:
        return await self.reports.get()

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.gen_test
async def test_an_answer_that_comes_just_when_patience_ends_is_passed_over() -> None:
    channel = FakeChannel()
    process = mock.Mock(spec=asyncio.subprocess.Process, pid=1, wait=mock.AsyncMock(return_value=0))
    one = Member(process, cast("Channel[Report]", channel))
    asking = asyncio.ensure_future(one.figures(PATIENCE))
    await asyncio.sleep(0)
    channel.reports.put_nowait(Figures(0, ready=True, metrics="late"))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    channel.reports.put_nowait(Figures(1, ready=True, metrics="in time"))
    found = await one.figures(PATIENCE)
    assert found
    assert found.metrics == "in time"
    assert await one.ended() == 0
    await asyncio.sleep(0)  # its task hears of that

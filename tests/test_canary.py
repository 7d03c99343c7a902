import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from client_support import until
from serve_support import served
from server_support import Clock, Served, serving
from tornado_sse import canary as canary_module
from tornado_sse.canary import USER, Canary


def of(node: Served, clock: Clock, host: str = "127.0.0.1", port: int | None = None) -> Canary:
    return Canary(node.server, host, port or node.port, clock)


def counted(node: Served) -> tuple[int, int]:
    """Messages that came, and that did not."""
    return sum(node.server.stats.canary.counts), node.server.stats.canary_failures


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - what a server may listen at
@pytest.mark.gen_test
async def test_one_stream_gets_message_after_message(clock: Clock, host: str) -> None:
    async with serving(clock) as node:
        canary = of(node, clock, host)
        for _ in range(3):
            await canary.sing()
        assert counted(node) == (3, 0)
        (stream,) = node.streams
        assert stream.user == USER
        canary._hang_up()


@pytest.mark.gen_test
async def test_its_messages_are_replayed_to_nobody(clock: Clock) -> None:
    async with serving(clock) as node:
        canary = of(node, clock)
        await canary.sing()
        (stream,) = node.streams
        past = await node.server.broker.replay([], 0)
        assert not past.messages
        assert stream.sent == 1
        canary._hang_up()


@pytest.mark.gen_test
async def test_its_session_is_renewed_before_it_ends(clock: Clock) -> None:
    async with serving(clock, session_ttl=100) as node:
        canary = of(node, clock)
        await canary.sing()
        before = node.streams[0].session
        clock.advance(51)
        await canary.sing()
        await until(lambda: len(node.streams) == 1)
        assert node.streams[0].session != before
        assert counted(node) == (2, 0)
        canary._hang_up()


@pytest.mark.gen_test
async def test_a_hub_that_is_stuck_is_a_failure(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary_module, "PATIENCE", 0.1)
    async with serving(clock) as node:
        canary = of(node, clock)
        fanout = node.server.registry.fanout
        with monkeypatch.context() as stuck, capture_logs() as log:
            stuck.setattr(fanout, "_schedule", lambda _callback: None)
            for _ in range(2):
                await canary.sing()
        assert counted(node) == (0, 2)
        assert [line["event"] for line in log if "canary" in line["event"]] == ["canary died"]
        fanout._scheduled = False
        with capture_logs() as log:
            await canary.sing()
        assert counted(node) == (1, 2)
        assert [line["event"] for line in log if "canary" in line["event"]] == ["canary sings again"]
        canary._hang_up()


@pytest.mark.parametrize("settings", [{"max_streams": 1}, {"max_streams_per_user": 1, "user_cap_policy": "reject"}])
@pytest.mark.gen_test
async def test_not_being_let_in_is_a_failure(clock: Clock, settings: dict[str, Any]) -> None:
    async with serving(clock, **settings) as node:
        await node.opened("s1", user=USER)
        canary = of(node, clock)
        with capture_logs() as log:
            await canary.sing()
        assert counted(node) == (0, 1)
        assert "no stream was opened: HTTP/1.1" in log[-1]["problem"]


@pytest.mark.gen_test
async def test_nobody_listens(clock: Clock) -> None:
    async with serving(clock) as node:
        canary = of(node, clock, port=1)
        await canary.sing()
        assert counted(node) == (0, 1)


@pytest.mark.gen_test
async def test_a_drain_is_no_failure(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(clock) as node:
        canary = of(node, clock)
        monkeypatch.setattr(node.server.registry.fanout, "_schedule", lambda _callback: None)
        singing = asyncio.ensure_future(canary.sing())
        await until(lambda: node.server.stats.messages_published["accepted"])
        node.server.draining = True
        node.server.registry.abandon_all()
        await singing
        await canary.sing()
        assert counted(node) == (0, 0)


@pytest.mark.gen_test(timeout=20)
async def test_a_server_with_a_canary() -> None:
    async with served(canary=0.1) as process:
        text = ""
        async with asyncio.timeout(10):
            while "tornado_sse_canary_seconds_count 3.0" not in text:
                text = (await process.ask("/metrics", user=None, admin=True)).body.decode()
        assert "tornado_sse_canary_failures_total 0.0" in text
    assert process.logged("stopped")[0]["code"] == 0
    assert "error" not in json.dumps(process.log)

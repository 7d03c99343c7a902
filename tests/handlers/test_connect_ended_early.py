"""Streams that end while their past is being fetched: they are answered so that proxies and EventSource go on."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from client_support import Client, until
from server_support import Clock, Served, serving
from slow_broker import SlowReplay
from tornado_sse.drain import drain

End = Callable[[Served], Awaitable[object]]


async def drains(node: Served) -> None:
    node.server.draining = True
    await drain(node.server.registry, 0.01, node.server.clocks.monotonic)


async def expires(node: Served) -> None:
    clock = node.server.clocks.monotonic
    assert isinstance(clock, Clock)
    clock.advance(91)
    node.server.registry.tick()


async def floods(node: Served) -> None:
    while node.streams:
        await node.server.publish("all", "x" * 10_000)
        await asyncio.sleep(0)


async def is_replaced(node: Served) -> None:
    client = await node.client()
    await client.request("/sse/connect/s2", node.bearer())
    await until(lambda: [stream.session for stream in node.streams] == ["s2"])


async def loses(node: Served) -> None:
    node.server.broker._receiver.lost(1, 2)  # type: ignore[attr-defined]


async def renews(node: Served) -> None:
    node.server.broker._receiver.renew("another", 3)  # type: ignore[attr-defined]


async def fails(node: Served) -> None:
    broker = node.server.broker
    assert isinstance(broker, SlowReplay)
    broker.fails = True
    broker.go_on.set()


async def held(node: Served, broker: SlowReplay, position: str, encoding: str = "identity") -> Client:
    """Ask for a stream, whose past is being fetched when this returns."""
    client = await node.client()
    headers = {"Accept": "text/event-stream", "Accept-Encoding": encoding, "Last-Event-ID": position}
    await client.request("/sse/connect/s1", node.bearer(ttl=90) | headers)
    await until(broker.asked.is_set)
    return client


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("draining", drains),
        ("disconnected", lambda node: node.server.disconnect("u1", "s1")),
        ("revoked", lambda node: node.server.revoke("u1")),
        ("replaced", is_replaced),
        ("expired", expires),
        ("slow", floods),
        ("limit", loses),
        ("limit", renews),
        ("limit", fails),
    ],
)
@pytest.mark.parametrize(("position", "debt"), [("", None), ("e-3", "e-3"), ("garbage", "0")])
@pytest.mark.gen_test
async def test_whatever_ends_a_stream_before_its_past_is_there_it_is_answered_whole(
    clock: Clock, reason: str, end: End, position: str, debt: str | None
) -> None:
    broker = SlowReplay(clock)
    async with serving(clock, broker, max_streams_per_user=1, user_cap_policy="replace", outbox_bytes=131_072) as node:
        client = await held(node, broker, position)
        await end(node)
        await client.streaming()
        (farewell,) = await client.rest()
        assert (farewell.event, farewell.json()["reason"], farewell.id) == ("stream-closing", reason, debt)
        assert 1000 <= (farewell.retry or 0) <= 3000
        stats = node.server.stats
        assert stats.streams_closed == {reason: 1}
        broker.go_on.set()
        await until(lambda: not broker.replays)
        assert (stats.resumes, stats.gaps) == ({}, {}), "it was told nothing of this"
        assert sum(stats.connect.counts) == len(node.streams)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.gen_test
async def test_it_is_answered_in_the_encoding_that_it_asked_for(clock: Clock, encoding: str) -> None:
    broker = SlowReplay(clock)
    async with serving(clock, broker, compression=True) as node:
        client = await held(node, broker, "e-3", encoding)
        await node.server.disconnect("u1", "s1")
        response = await client.streaming()
        assert response.headers.get("content-encoding", "identity") == encoding
        assert [block.json()["reason"] for block in await client.rest()] == ["disconnected"]
        broker.go_on.set()
        await until(lambda: not broker.replays)

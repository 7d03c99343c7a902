"""Streams that come back, and brokers that take their time over it."""

from collections.abc import Sequence
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from client_support import until
from server_support import Clock, serving
from slow_broker import SlowReplay
from tornado_sse.brokers.base import Past
from tornado_sse.topic import Topic


@pytest.mark.parametrize("by", ["header", "query", "both"])
@pytest.mark.gen_test
async def test_resumes_after_the_last_event_id_and_the_header_wins(by: str) -> None:
    async with serving() as node:
        sent = [await node.server.publish({"user": "u1"}, f"m{number}") for number in range(4)]
        await node.server.publish({"user": "u2"}, "not mine")
        position, wrong = str(sent[1].position), str(sent[3].position)
        headers = {"Last-Event-ID": position} if by != "query" else {}
        query = {"header": "", "query": f"?lastEventId={position}", "both": f"?lastEventId={wrong}"}[by]
        client = await node.connect(headers=headers, query=query)
        assert (await client.next_block()).id == position
        assert [await client.data(), await client.data()] == ["m2", "m3"]
        assert (await client.next_block()).id == f"{node.server.broker.epoch}-5", (
            "the present position, past what is not mine"
        )
        await node.server.publish("all", "live")
        assert await client.data() == "live"
        assert node.server.stats.resumes == {"recovered": 1}
        assert node.server.stats.gaps == {}


@pytest.mark.gen_test
async def test_an_empty_last_event_id_is_a_first_connect() -> None:
    async with serving() as node:
        await node.server.publish("all", "before")
        client = await node.opened(query="?lastEventId=", headers={"Last-Event-ID": ""})
        await node.server.publish("all", "after")
        assert await client.data() == "after"
        assert node.server.stats.resumes == {}


@pytest.mark.parametrize(
    "position",
    [
        "zzzzzzzz-2",
        "EPOCH-99",
        "garbage",
        "-",
        "EPOCH-01",
        "EPOCH--1",
        "EPOCH-" + "9" * 40,
        "%FF%00",
        "\u202e",
        "0" * 3000,
    ],
)
@pytest.mark.parametrize("by", ["header", "query"])
@pytest.mark.gen_test
async def test_a_position_that_says_nothing_is_a_gap_and_no_error(position: str, by: str) -> None:
    async with serving() as node:
        receipt = await node.server.publish("all", "before")
        text = position.replace("EPOCH", receipt.position.epoch)
        headers = {"Last-Event-ID": text.encode().decode("latin-1")} if by == "header" else {}
        query = f"?lastEventId={quote(text, safe='%')}" if by == "query" else ""
        client = await node.client()
        lines = "".join(f"{name}: {value}\r\n" for name, value in (node.bearer() | headers).items())
        await client.send(f"GET /sse/connect/s1{query} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode("latin-1"))
        await client.streaming()
        gap = await client.event()
        assert gap.event == "stream-gap"
        assert gap.json()["reason"] in ("epoch", "unknown")
        if gap.json()["reason"] == "epoch":
            assert await client.data() == "before", "what the new epoch has is replayed"
        await node.server.publish("all", "after")
        assert await client.data() == "after"
        assert node.server.stats.resumes == {"gap": 1}
        assert sum(node.server.stats.gaps.values()) == 1


@pytest.mark.gen_test
async def test_what_history_no_longer_holds_is_told_first() -> None:
    async with serving(history_size=2) as node:
        sent = [str((await node.server.publish("all", f"m{number}")).position) for number in range(5)]
        client = await node.connect(headers={"Last-Event-ID": sent[0]})
        gap = await client.event()
        assert gap.event == "stream-gap"
        assert gap.json() == {"from": sent[0], "to": sent[2], "reason": "evicted"}
        assert [await client.data(), await client.data()] == ["m3", "m4"]
        assert node.server.stats.gaps == {"evicted": 1}


@pytest.mark.gen_test
async def test_what_is_published_during_a_resume_arrives_exactly_once_and_in_order(clock: Clock) -> None:
    broker = SlowReplay(clock)
    async with serving(clock, broker) as node:
        start = (await node.server.publish("all", "m0")).position
        await node.server.publish("all", "m1")
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer() | {"Last-Event-ID": str(start)})
        await broker.asked.wait()
        await node.server.publish("all", "m2")
        await until(lambda: node.server.registry.fanout.idle)
        await node.server.publish("all", "m3")
        broker.go_on.set()
        await node.server.publish("all", "m4")
        await client.streaming()
        assert [await client.data() for _ in range(4)] == ["m1", "m2", "m3", "m4"]
        await node.server.publish("all", "m5")
        assert await client.data() == "m5"


@pytest.mark.gen_test
async def test_a_stream_whose_replay_fails_as_nobody_foresaw_does_not_wait_for_ever(clock: Clock) -> None:
    class Faulty(SlowReplay):
        async def replay(self, topics: Sequence[Topic], after: int | None) -> Past:
            await super().replay(topics, after)
            raise ZeroDivisionError

    broker = Faulty(clock)
    broker.go_on.set()
    async with serving(clock, broker) as node:
        client = await node.client()
        with capture_logs() as logs:
            await client.request("/sse/connect/s1", node.bearer() | {"Last-Event-ID": "e-3"})
            await client.streaming()
            (farewell,) = await client.rest()
            await until(lambda: not node.server.answering)
        assert (farewell.id, farewell.json()) == ("e-3", {"reason": "limit", "reconnect": True})
        assert (node.streams, broker.interest) == ([], [])
        assert [log["event"] for log in logs if log["log_level"] == "error"] == ["request failed"]


@pytest.mark.gen_test
@pytest.mark.parametrize("position", ["", "e-3"])
async def test_a_replay_that_fails_is_answered_by_a_farewell_so_that_the_client_comes_back(
    clock: Clock, position: str
) -> None:
    """No answer would be a 502 by a proxy, and for EventSource the end."""
    broker = SlowReplay(clock)
    broker.fails = True
    async with serving(clock, broker) as node:
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer() | {"Last-Event-ID": position})
        await until(broker.asked.is_set)
        await node.server.publish("all", "not to be lost with the connection")
        broker.go_on.set()
        await client.streaming()
        farewell = await client.next_block()
        assert farewell.id == (position or None)
        assert (farewell.event, farewell.json()) == ("stream-closing", {"reason": "limit", "reconnect": True})
        assert farewell.retry
        assert await client.rest() == []
        assert node.streams == []
        assert broker.interest == []
        broker.fails = False
        await node.opened()

"""Clients of a real server that read too slowly, by each policy."""

import json

import pytest

from client_support import until
from server_support import Clock, Served, serving
from stream_support import SMALL


async def flood(node: Served, count: int = 150, *, key: str | None = None) -> list[str]:
    """Publish to all until the kernel can take no more for a client that does not read."""
    sent = [f"{number}:{'z' * 60_000}" for number in range(count)]
    for text in sent:
        await node.server.publish("all", text, key=key)
        await until(lambda: node.server.registry.fanout.idle)
    return sent


@pytest.mark.gen_test(timeout=20)
async def test_a_slow_reader_is_ended_and_costs_the_others_nothing() -> None:
    async with serving() as node:
        healthy = await node.opened("s2")
        slow = await node.opened(receive_buffer=SMALL)
        sent = [f"{number}:{'z' * 60_000}" for number in range(150)]
        for text in sent:
            await node.server.publish("all", text)
            assert await healthy.data() == text
        stats = node.server.stats
        assert stats.streams_closed == {"slow": 1}
        got = [block.data for block in await slow.rest()]
        assert got[:-1] == sent[: len(got) - 1], "what arrived has no hole"
        assert json.loads(str(got[-1])) == {"reason": "slow", "reconnect": True}
        assert stats.messages_dropped["closed"] > 0
        assert stats.outbox_bytes == 0


@pytest.mark.gen_test(timeout=20)
async def test_a_slow_reader_whose_oldest_are_dropped_goes_on() -> None:
    async with serving(slow_policy="drop-oldest") as node:
        slow = await node.opened(receive_buffer=SMALL)
        sent = await flood(node)
        got = [await slow.event()]
        while got[-1].data != sent[-1]:
            got.append(await slow.event())
        (gap,) = [index for index, block in enumerate(got) if block.event == "stream-gap"]
        before, after = ([block.data for block in part] for part in (got[:gap], got[gap + 1 :]))
        assert before == sent[: len(before)]
        assert after == sent[-len(after) :]
        told = got[gap].json()
        assert told["from"] == got[gap - 1].id
        assert int(told["to"].partition("-")[2]) + 1 == int(str(got[gap + 1].id).partition("-")[2])
        await node.server.publish("all", "later")
        assert await slow.data() == "later"
        stats = node.server.stats
        assert stats.messages_dropped["drop-oldest"] == len(sent) - len(before) - len(after)
        await until(lambda: stats.outbox_bytes == 0)


@pytest.mark.gen_test(timeout=20)
async def test_a_slow_reader_gets_the_newest_of_a_key() -> None:
    async with serving(slow_policy="conflate") as node:
        slow = await node.opened(receive_buffer=SMALL)
        sent = await flood(node, key="price")
        got = [await slow.data()]
        while got[-1] != sent[-1]:
            got.append(await slow.data())
        assert got[:-1] == sent[: len(got) - 1]
        assert node.server.stats.messages_dropped["conflate"] == len(sent) - len(got)
        assert node.server.stats.streams_closed == {}


@pytest.mark.gen_test(timeout=20)
async def test_a_reader_too_slow_by_age_is_ended(clock: Clock) -> None:
    async with serving(clock, outbox_bytes=10**8) as node:
        slow = await node.opened(receive_buffer=SMALL)
        await flood(node)
        clock.advance(9.9)
        node.server.registry.tick()
        assert node.server.stats.streams_closed == {}
        clock.advance(1.0)
        node.server.registry.tick()
        assert node.server.stats.streams_closed == {"slow": 1}
        assert (await slow.rest())[-1].json() == {"reason": "slow", "reconnect": True}
        assert node.server.stats.outbox_bytes == 0

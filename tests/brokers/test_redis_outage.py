"""The broker on Redis when its engine is gone: killed, restarted, or a black hole that drops bytes without closing."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import valkey_support
from broker_support import CHANNEL, OTHER, PATIENCE, USER, Node, draft, positions, rising
from outage_support import PROBE
from support import sequences
from tcp_proxy import TcpProxy, tcp_proxy
from tornado_sse.brokers.base import BrokerProblem
from tornado_sse.brokers.redis.broker import RedisBroker
from tornado_sse.brokers.redis.login import engine
from tornado_sse.config import Settings
from tornado_sse.errors import Unavailable
from tornado_sse.stats import Stats
from tornado_sse.topic import Topic
from valkey_support import Valkey, make_terms, redis_broker, until_rejoined, valkey

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
COMMANDS = re.search(r"`(eval\s[^`]*)`", DOCUMENTATION)
assert COMMANDS
ACL = "~sse ~sse:* &sse:* " + " ".join(f"+{command}" for command in COMMANDS[1].split())
"""The rights that the documentation says are enough."""


@asynccontextmanager
async def node_at(
    port: int, *topics: Topic, size: int = 20, probe: float = valkey_support.PROBE
) -> AsyncIterator[Node]:
    node = Node(redis_broker(f"redis://127.0.0.1:{port}", make_terms(size=size, probe=probe)))
    await node.broker.start(node)
    try:
        if topics:
            await node.broker.subscribe(topics)
        yield node
    finally:
        await node.broker.close()


def play(scenario: Callable[[Valkey, TcpProxy], Awaitable[None]]) -> None:
    """Run a scenario with a server, and a proxy in front of it."""

    async def run() -> None:
        async with valkey() as server, tcp_proxy(server.port) as gate:
            await scenario(server, gate)

    asyncio.run(run())


def test_words_that_the_engine_does_not_take_are_not_said_to_be_told() -> None:
    async def scenario(_: Valkey, gate: TcpProxy) -> None:
        async with node_at(gate.port, probe=PROBE) as node:
            gate.stall()
            with pytest.raises(Unavailable):
                await node.broker.tell(b"x")

    play(scenario)


def test_connections_that_are_cut_under_load_lose_nothing() -> None:
    async def scenario(server: Valkey, gate: TcpProxy) -> None:
        async with node_at(gate.port, USER, CHANNEL, size=1000) as cut, node_at(server.port) as whole:
            published = []
            for number in range(300):
                published += await whole.publish(USER, OTHER, CHANNEL)
                if number % 60 == 30:
                    await gate.cut()
                    await until_rejoined(cut, number // 60 + 1)
            await cut.until_up()
            published += await whole.publish(USER, CHANNEL)
            await cut.until_seen(published[-1])
            wanted = [one for number, one in enumerate(published) if number % 3 != 1 or number >= 900]
            assert cut.seen(USER, CHANNEL) == positions(wanted)
            assert rising(sequences(cut.delivered))
            assert cut.told == []

    play(scenario)


def test_what_history_lost_meanwhile_is_told() -> None:
    async def scenario(server: Valkey, gate: TcpProxy) -> None:
        async with node_at(gate.port, USER, CHANNEL, probe=PROBE) as cut, node_at(server.port) as whole:
            (first,) = await whole.publish(USER)
            await cut.until_seen(first)
            gate.stall()
            await cut.until_up(up=False)
            early = await whole.publish(CHANNEL)
            missed = await whole.publish(*[USER] * 50)
            gate.flow()
            await cut.until_seen(missed[-1])
            assert cut.told == [(first.position.sequence + 1, missed[29].position.sequence)]
            assert sequences(cut.delivered) == positions([first, *early, *missed[30:]])

    play(scenario)


def test_a_message_past_its_own_time_is_not_filled_in() -> None:
    async def scenario(server: Valkey, gate: TcpProxy) -> None:
        async with node_at(gate.port, USER, probe=PROBE) as cut, node_at(server.port) as whole:
            gate.stall()
            await cut.until_up(up=False)
            for_now, last = await whole.broker.publish([draft(USER, ttl=0.001), draft(USER, ttl=100)])
            assert not for_now.duplicate
            gate.flow()
            await cut.until_seen(last)
            assert (cut.seen(USER), cut.told) == (positions([last]), [])

    play(scenario)


def test_data_thrown_away_under_live_nodes_begins_an_epoch() -> None:
    async def scenario(server: Valkey, _gate: TcpProxy) -> None:
        async with node_at(server.port, USER) as one:
            await one.publish(USER)
            epoch = one.broker.epoch
            await server.client.flushall()
            for result in await asyncio.gather(one.publish(USER), one.publish(USER), return_exceptions=True):
                assert isinstance(result, Unavailable)
            await until_rejoined(one)
            (after,) = await one.publish(USER)
            assert after.position.epoch != epoch
            assert one.told == [(after.position.epoch, 0)]

    play(scenario)


def test_scripts_thrown_away_are_brought_again() -> None:
    async def scenario(server: Valkey, _gate: TcpProxy) -> None:
        async with node_at(server.port, USER) as one:
            await server.call("SCRIPT", "FLUSH")
            with pytest.raises(Unavailable):
                await one.publish(USER)
            await until_rejoined(one)
            (after,) = await one.publish(USER)
            await one.until_seen(after)
            assert one.told == []

    play(scenario)


def test_an_engine_that_is_not_there_at_the_start_is_unavailable() -> None:
    async def scenario(server: Valkey, gate: TcpProxy) -> None:
        server.kill()
        node = Node(redis_broker(server.url, make_terms()))
        assert not node.broker.health().up
        with pytest.raises(Unavailable):
            await node.broker.start(node)
        await node.broker.close()
        gate.stall()
        node = Node(redis_broker(f"redis://127.0.0.1:{gate.port}", make_terms(probe=PROBE)))
        with pytest.raises(Unavailable):
            await node.broker.start(node)
        await node.broker.close()

    play(scenario)


def test_a_broker_that_did_not_start_may_be_started_again() -> None:
    async def scenario(_server: Valkey, gate: TcpProxy) -> None:
        node = Node(redis_broker(f"redis://127.0.0.1:{gate.port}", make_terms(probe=PROBE)))
        gate.stall()
        with pytest.raises(Unavailable):
            await node.broker.start(node)
        gate.flow()
        await node.broker.start(node)
        await node.broker.subscribe([USER])
        await node.until_seen(*await node.publish(USER))
        await node.broker.close()
        await node.broker.start(node)
        await node.until_seen(*await node.publish(USER))
        await node.broker.close()

    play(scenario)


@pytest.mark.parametrize("password", ["", "wrong"])
def test_who_is_not_let_in_can_not_start(password: str) -> None:
    async def scenario(server: Valkey, _gate: TcpProxy) -> None:
        await server.call("CONFIG", "SET", "requirepass", "right")
        settings = Settings(broker=server.url, broker_password=password)
        broker = RedisBroker(engine(settings), make_terms(), stats=Stats(), clock=time.monotonic)
        with pytest.raises(BrokerProblem, match=r"^Redis: "):
            await broker.start(Node(broker))

    play(scenario)


def test_a_user_with_a_password_is_let_in() -> None:
    async def scenario(server: Valkey, _gate: TcpProxy) -> None:
        await server.call("ACL", "SETUSER", "sse", "on", ">p@ss", *ACL.split())
        settings = Settings(broker=server.url, broker_user="sse", broker_password="p@ss")
        node = Node(RedisBroker(engine(settings), make_terms(), stats=Stats(), clock=time.monotonic))
        await node.broker.start(node)
        await node.broker.subscribe([USER])
        await node.until_seen(*await node.publish(USER))
        await node.broker.close()

    play(scenario)


def test_what_is_under_way_into_a_black_hole_is_no_success() -> None:
    async def scenario(_server: Valkey, gate: TcpProxy) -> None:
        async with node_at(gate.port, USER, CHANNEL, probe=PROBE) as node:
            gate.stall()
            attempts = (node.publish(USER), node.broker.subscribe([OTHER]), node.broker.replay([USER], 0))
            for result in await asyncio.gather(*attempts, return_exceptions=True):
                assert isinstance(result, Unavailable)
            node.broker.unsubscribe([CHANNEL])
            gate.flow()
            await node.until_up()
            *_, last = await node.publish(OTHER, CHANNEL, USER)
            await node.until_seen(last)
            assert node.seen(OTHER, CHANNEL) == []

    play(scenario)


def test_a_subscribe_that_is_cancelled_leaves_no_interest() -> None:
    async def scenario(_server: Valkey, gate: TcpProxy) -> None:
        async with node_at(gate.port, USER) as node:
            gate.stall()
            subscribing = asyncio.create_task(node.broker.subscribe([OTHER]))
            await asyncio.sleep(0)
            subscribing.cancel()
            await asyncio.wait([subscribing])
            gate.flow()
            *_, last = await node.publish(OTHER, USER)
            await node.until_seen(last)
            assert sequences(node.delivered) == positions([last])

    play(scenario)


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_engine_that_goes_while_it_is_joined_is_left(*, cancelled: bool) -> None:
    async def scenario(server: Valkey, gate: TcpProxy) -> None:
        node = Node(broker := redis_broker(f"redis://127.0.0.1:{gate.port}", make_terms(probe=PROBE)))
        starting = asyncio.create_task(broker.start(node))
        await turns_until(lambda: broker._runner is not None)
        gate.stall()
        if cancelled:
            starting.cancel()
        with pytest.raises(asyncio.CancelledError if cancelled else Unavailable):
            await starting
        assert not broker.health().up
        gate.flow()
        await until_alone(server)

    play(scenario)


def test_a_broker_may_be_closed_at_any_moment_of_an_outage() -> None:
    async def scenario(server: Valkey, gate: TcpProxy) -> None:
        terms = make_terms(probe=2 * PATIENCE)
        for turns in range(12):
            node = Node(broker := redis_broker(f"redis://127.0.0.1:{gate.port}", terms))
            await broker.start(node)
            await gate.cut()
            await turns_until(lambda: not broker.health().up)
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE):
                await broker.close()
            await until_alone(server)

    play(scenario)


async def turns_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, and look at it in every turn of the loop."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0)


async def until_alone(server: Valkey) -> None:
    """Wait until the server has no other client than this test."""
    async with asyncio.timeout(PATIENCE):
        while len(await server.client.client_list()) > 1:
            await asyncio.sleep(0.01)


def test_links_that_lead_to_different_servers_are_not_trusted() -> None:
    async def scenario(_server: Valkey, gate: TcpProxy) -> None:
        async with valkey() as other:
            node = Node(redis_broker(f"redis://127.0.0.1:{gate.port}", make_terms()))
            starting = asyncio.create_task(node.broker.start(node))
            await turns_until(lambda: gate.connections == 1)
            gate.target = other.port
            with pytest.raises(Unavailable, match="different masters"):
                await starting

    play(scenario)


def test_what_others_say_where_probes_come_back_is_nothing() -> None:
    async def scenario(server: Valkey, _gate: TcpProxy) -> None:
        async with node_at(server.port, USER) as node:
            (channel,) = await server.client.pubsub_channels("sse:probe:*")
            await server.client.publish(channel, "no probe")
            (result,) = await node.publish(USER)
            await node.until_seen(result)
            assert node.broker.health().up

    play(scenario)


def test_a_message_of_another_epoch_makes_the_node_look() -> None:
    async def scenario(server: Valkey, _gate: TcpProxy) -> None:
        async with node_at(server.port, USER) as node:
            await server.client.publish("sse:live:user:u", 'other 9 0 0 {"to": ["user:u"], "data": "x"}')
            await until_rejoined(node)
            (result,) = await node.publish(USER)
            await node.until_seen(result)
            assert (sequences(node.delivered), node.told) == ([1], [])

    play(scenario)

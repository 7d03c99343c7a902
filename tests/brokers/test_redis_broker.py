"""What only the broker on Redis promises, with a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from importlib import resources

import pytest

from broker_support import CHANNEL, OTHER, PATIENCE, USER, Cluster, Node, draft, most_in_a_turn, positions
from support import sequences
from tcp_proxy import tcp_proxy
from tornado_sse import topic
from tornado_sse.brokers.base import Past
from tornado_sse.brokers.redis.broker import RedisBroker
from tornado_sse.brokers.redis.codec import Replayed, topic_name
from tornado_sse.brokers.redis.link import Link
from tornado_sse.brokers.redis.session import Session, Terms
from tornado_sse.errors import Unavailable
from valkey_support import RedisBackend, make_terms, redis_broker, until_rejoined, valkey

PUBLISH = resources.files("tornado_sse.brokers.redis").joinpath("publish.lua").read_text()


def play(scenario: Callable[[RedisBackend, Cluster], Awaitable[None]], terms: Terms | None = None) -> None:
    async def run() -> None:
        async with valkey() as server:
            backend = RedisBackend(server, terms or make_terms())
            cluster = Cluster(backend)
            try:
                await scenario(backend, cluster)
            finally:
                await cluster.close()

    asyncio.run(run())


def session(node: Node) -> Session:
    assert isinstance(node.broker, RedisBroker)
    assert node.broker._session
    return node.broker._session


@asynccontextmanager
async def slow_feed(node: Node) -> AsyncIterator[None]:
    """Have who writes to the feed wait, as if the engine read slowly; what is written goes out."""
    protocol = session(node)._feed._transport.get_protocol()
    protocol.pause_writing()
    try:
        yield
    finally:
        protocol.resume_writing()


def test_who_publishes_straight_to_the_engine_is_heard() -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node(USER)
        publish = backend.server.client.register_script(PUBLISH)
        body = json.dumps({"to": ["user:u"], "data": "hello", "event": "order"})
        epoch, sequence, result = await publish(keys=["sse"], args=["id", 1, body, 1, "user:u"])
        assert (epoch.decode(), sequence, result) == (node.broker.epoch, 1, 1)
        _, _, again = await publish(keys=["sse"], args=["id", 1, body, 1, "user:u"])
        assert again.decode() == f"{node.broker.epoch}-1"
        await node.until(lambda: bool(node.delivered))
        assert node.delivered[0].frame.body == f"event: order\ndata: hello\nid: {node.broker.epoch}-1\n\n".encode()

    play(scenario)


def test_what_is_malformed_in_the_engine_is_counted_and_passed_over() -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node(USER)
        client = backend.server.client
        for text in ("hello", b"\xff", "e 1 2 3"):
            await client.publish("sse:live:user:u", text)
        for body in ("no JSON", '{"to": ["user:u"], "data": "x", "more": ' + "[" * 100_000):
            await client.eval(PUBLISH, 1, "sse", "", 1, body, 1, "user:u")
        (last,) = await node.publish(USER)
        await node.until_seen(last)
        assert node.seen(USER) == [3]
        assert backend.stats.messages_malformed == 5
        assert sequences((await node.broker.replay([USER], 0)).messages) == [3]
        await client.xadd("sse:history:user:u", {"m": "no entry"}, id="4-0")
        assert sequences((await node.broker.replay([USER], 0)).messages) == [3]

    play(scenario)


def test_past_their_number_the_oldest_keys_are_forgotten_first() -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node()

        async def publish(*keys: str) -> list[bool]:
            return [one.duplicate for one in await node.broker.publish([draft(USER, key=key) for key in keys])]

        assert await publish("a", "b", "c", "a") == [False] * 3 + [True], "forgotten behind the batch"
        assert await publish("b", "c") == [True, True]
        assert await publish("a") == [False]
        assert await publish("c", "a", "b") == [True, True, False]
        assert len(await backend.server.client.keys("sse:key:*")) == 2
        assert 0 < await backend.server.client.pttl("sse:keys") <= 30_000

    play(scenario, make_terms(keys=2))


def test_a_message_that_alone_can_not_be_kept_harms_no_other() -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node(USER, OTHER)
        await backend.server.client.set("sse:history:user:u", "not ours")
        with pytest.raises(Unavailable):
            await node.publish(USER)
        (result,) = await node.publish(OTHER)
        await node.until_seen(result)
        assert node.broker.health().up

    play(scenario)


def test_a_full_memory_is_an_outage() -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node(USER)
        await backend.server.call("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(Unavailable):
            await node.publish(USER)
        await node.until_up(up=False)
        await backend.server.call("CONFIG", "SET", "maxmemory", "0")
        await node.until_up()
        (result,) = await node.publish(USER)
        await node.until_seen(result)
        assert (result.position.sequence, node.told) == (1, [])

    play(scenario)


def test_what_is_too_old_is_gone_and_told() -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node()
        old = await node.publish(USER, CHANNEL)
        await backend.pass_time(200)
        young = await node.publish(USER)
        await backend.pass_time(200)
        past = await node.broker.replay([USER], 0)
        assert (sequences(past.messages), past.lost) == (positions(young), old[0].position.sequence)
        past = await node.broker.replay([CHANNEL], 0)
        assert (past.messages, past.lost) == ((), old[1].position.sequence)
        assert (await node.broker.replay([USER], old[0].position.sequence)).lost == 0
        await node.publish(USER)
        assert await backend.server.client.xlen("sse:history:user:u") == 2

    play(scenario)


def test_topics_beyond_those_remembered_are_told_of_a_possible_hole() -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node()
        users = [topic.user(str(number)) for number in range(5)]
        await node.publish(*users)
        await backend.server.client.delete("sse:history:user:0", "sse:history:user:3")
        assert await backend.server.client.zcard("sse:last") == 3
        assert await node.broker.replay([users[0]], 0) == Past((), 5, 2)
        assert await node.broker.replay([users[0]], 2) == Past((), 5, 0)
        assert await node.broker.replay([users[3]], 0) == Past((), 5, 4)
        assert (await node.broker.replay([users[4]], 2)).lost == 0

    play(scenario, make_terms(topics=3))


def test_interest_taken_anew_while_the_old_one_is_being_given_up_holds() -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node(USER)
        async with slow_feed(node):
            waiting = asyncio.create_task(node.broker.subscribe([OTHER]))
            node.broker.unsubscribe([USER])
            async with asyncio.timeout(PATIENCE):
                while await backend.server.call("PUBSUB", "NUMSUB", "sse:live:user:v") != [b"sse:live:user:v", 1]:
                    await asyncio.sleep(0)
            again = asyncio.create_task(node.broker.subscribe([USER]))
            for _ in range(10):  # turns of the loop, enough to write whatever would be written
                await asyncio.sleep(0)
        await asyncio.gather(waiting, again)
        (result,) = await node.publish(USER)
        await node.until_seen(result)

    play(scenario)


def test_who_waits_to_change_interest_when_the_engine_goes_leaves_all_to_the_next_session() -> None:
    async def scenario(_: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node(USER)
        async with slow_feed(node):
            first = asyncio.create_task(node.broker.subscribe([OTHER]))
            await asyncio.sleep(0)
            second = asyncio.create_task(node.broker.subscribe([CHANNEL]))
            await asyncio.sleep(0)
            session(node).doubt("a test")
            for failed in await asyncio.gather(first, second, return_exceptions=True):
                assert isinstance(failed, Unavailable)
        await until_rejoined(node)
        (result,) = await node.publish(USER)
        await node.until_seen(result)

    play(scenario)


def test_a_node_without_interest_knows_how_far_the_hub_has_come() -> None:
    async def scenario(_: RedisBackend, cluster: Cluster) -> None:
        node, other = await cluster.node(USER), await cluster.node()
        published = await other.publish(OTHER, CHANNEL)
        await node.until(lambda: node.upto == published[-1].position.sequence)
        assert node.delivered == []

    play(scenario)


def test_without_a_window_no_key_is_a_duplicate() -> None:
    async def scenario(_: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node()
        results = await node.broker.publish([draft(USER, key="a"), draft(USER, key="a")])
        assert [result.duplicate for result in results] == [False, False]

    play(scenario, make_terms(window=0))


def test_without_history_a_hole_is_told() -> None:
    async def scenario(_: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node()
        await node.publish(USER)
        assert await node.broker.replay([USER], 0) == Past((), 1, 1)

    play(scenario, make_terms(size=0))


def test_a_node_with_many_topics_catches_up_on_all() -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        other = await cluster.node()
        users = [topic.user(str(number)) for number in range(1200)]
        async with tcp_proxy(backend.server.port) as gate:
            node = Node(redis_broker(f"redis://127.0.0.1:{gate.port}", backend.terms))
            await node.broker.start(node)
            await node.broker.subscribe(users)
            gate.stall()
            await node.until_up(up=False)
            published = [
                result
                for number in range(0, 2 * len(users), 200)
                for result in await other.publish(*(users * 2)[number : number + 200])
            ]
            gate.flow()
            await node.until_seen(published[-1])
            assert node.seen(*users) == positions(published)
            await node.broker.close()

    play(scenario)


def test_others_have_their_turn_while_many_topics_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node()
        users = [topic.user(str(number)) for number in range(1200)]
        assert await most_in_a_turn(monkeypatch, Link, "tell", node.broker.subscribe(users)) == 1

    play(scenario)


def test_who_leaves_while_its_node_rejoins_is_subscribed_to_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node(USER, OTHER)
        replay = Session.replay_many

        async def leave(session: Session, names: Iterable[str], after: int) -> Replayed:
            node.broker.unsubscribe([OTHER])
            return await replay(session, names, after)

        monkeypatch.setattr(Session, "replay_many", leave)
        await backend.server.client.flushall()
        await until_rejoined(node)
        channels = [f"{backend.terms.prefix}:live:{topic_name(one)}" for one in (USER, OTHER)]
        async with asyncio.timeout(PATIENCE):
            while [count for _, count in await backend.server.client.pubsub_numsub(*channels)] != [1, 0]:
                await asyncio.sleep(0.01)
        assert node.broker.health().up

    play(scenario)


def test_what_is_asked_of_a_history_that_has_just_changed_is_unavailable() -> None:
    async def scenario(backend: RedisBackend, cluster: Cluster) -> None:
        node = await cluster.node(USER)
        await backend.server.client.flushall()
        with pytest.raises(Unavailable):
            await node.broker.replay([USER], 0)
        await until_rejoined(node)
        assert (await node.broker.replay([USER], 0)).lost == 0

    play(scenario)

"""What only the broker on NATS promises, held against a real server."""

import asyncio
import json

import pytest
from nats.aio.subscription import Subscription

from broker_support import CHANNEL, HISTORY, USER, draft, most_in_a_turn, positions
from nats_bench import Bench, play
from nats_support import NatsServer, free_port, shared_server
from outage_support import until
from support import sequences
from tornado_sse import topic
from tornado_sse.brokers.base import BrokerProblem
from tornado_sse.brokers.nats.broker import NatsBroker
from tornado_sse.brokers.nats.layout import Layout
from tornado_sse.brokers.nats.link import Link, Sink
from tornado_sse.brokers.nats.session import AT_ONCE
from tornado_sse.errors import Unavailable
from tornado_sse.topic import ALL


def test_backends_may_publish_straight_to_nats() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER, CHANNEL, ALL)
        numbers = [
            await bench.publish("user.u.all", b'{"id": 7}', {"Sse-Event": "order"}),
            await bench.publish("channel.c", "é".encode(), {"Sse-Key": "k", "Sse-Ttl": "60"}),
            await bench.publish("all", b"x"),
            await bench.publish("many", b"y", {"Sse-To": json.dumps([{"user": "u"}, {"channel": "c"}])}),
        ]
        await node.until(lambda: len(node.delivered) == 4)
        assert sequences(node.delivered) == numbers
        assert node.delivered[0].frame.body.startswith(b'event: order\ndata: {"id": 7}\n')
        assert [one.topics for one in node.delivered] == [(USER,), (CHANNEL,), (ALL,), (USER, CHANNEL)]
        assert sequences((await node.broker.replay([USER, CHANNEL], numbers[0])).messages) == [numbers[1], numbers[3]]

    play(scenario)


def test_a_malformed_message_is_counted_and_skipped() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER)
        await bench.publish("user.u.all", b"\xff")
        await bench.publish("user.u.all", b"x", {"Sse-Event": "stream-gap"})
        await bench.publish("user.u", b"x")
        await bench.publish("command", b"reboot")
        await bench.client.publish(f"{bench.prefix}.live.user.u.all", b"past the stream")
        await bench.client.publish(f"{bench.prefix}.live.all", b"", headers={"Nats-Sequence": "x"})
        await bench.client.flush()
        (result,) = await node.publish(USER)
        await node.until_seen(result)
        assert node.seen(USER) == positions([result])
        assert bench.backend.stats.messages_malformed == 5
        assert sequences((await node.broker.replay([USER], 0)).messages) == positions([result])
        assert (node.commands, node.holes) == ([], [])

    play(scenario)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Status", "404"),
        ("Status", ""),
        ("Nats-Sequence", "1"),
        ("Nats-Last-Sequence", "99"),
        ("Nats-Subject", "all"),
        ("Nats-Time-Stamp", "yesterday"),
        ("Nats-Num-Pending", "x"),
        ("Nats-UpTo-Sequence", "99"),
    ],
)
def test_headers_that_are_the_servers_are_not_taken_from_a_backend(header: str, value: str) -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER)
        forged = await bench.publish("user.u.all", b"x", {header: value})
        good = await bench.publish("user.u.all", b"y")
        await node.until(lambda: len(node.delivered) == 2)
        assert (sequences(node.delivered), node.holes) == ([forged, good], [])
        past = await node.broker.replay([USER], forged - 1)
        assert (sequences(past.messages), past.lost) == ([forged, good], 0)

    play(scenario)


def test_a_stream_with_other_settings_is_refused_with_the_difference() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.node()
        other = Layout(bench.prefix, size=HISTORY, ttl=60, max_bytes=10**7, window=1)
        with pytest.raises(BrokerProblem, match=r"max_age is 300 s, the settings want 60 s; duplicate_window is 2 s"):
            await bench.node(broker=bench.backend.broker_at(shared_server().url, wanted=other))

    play(scenario)


def test_a_stream_that_can_not_be_made_is_refused() -> None:
    async def scenario(bench: Bench) -> None:
        replicated = Layout(bench.prefix, size=1, ttl=60, max_bytes=10**7, window=1, replicas=3)
        with pytest.raises(BrokerProblem, match="replicas > 1 not supported"):
            await bench.node(broker=bench.backend.broker_at(shared_server().url, wanted=replicated))

    play(scenario)


def test_a_stream_made_by_somebody_else_gets_an_epoch() -> None:
    async def scenario(bench: Bench) -> None:
        config = bench.backend.layout.config("") | {"metadata": {"made": "by hand"}}
        await bench.client.request(f"$JS.API.STREAM.CREATE.{bench.prefix}", json.dumps(config).encode())
        one, two = await bench.node(), await bench.node()
        assert one.broker.epoch == two.broker.epoch
        assert len(one.broker.epoch) == 8

    play(scenario)


def test_nodes_that_start_at_once_agree() -> None:
    async def scenario(bench: Bench) -> None:
        nodes = await asyncio.gather(*(bench.node(USER) for _ in range(4)))
        assert len({node.broker.epoch for node in nodes}) == 1

    play(scenario)


def test_without_a_window_a_key_means_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        wanted = Layout(bench.prefix, size=HISTORY, ttl=60, max_bytes=10**7, window=0)
        node = await bench.node(broker=bench.backend.broker_at(shared_server().url, wanted=wanted))
        results = await node.broker.publish([draft(USER, key="a"), draft(USER, key="a")])
        assert [result.duplicate for result in results] == [False, False]

    play(scenario)


def test_a_message_too_large_for_the_engine_is_no_success() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node()
        with pytest.raises(Unavailable):
            await node.broker.publish([draft(USER, "x" * 2_000_000)])
        await node.publish(USER)

    play(scenario)


def test_what_the_engine_refuses_is_no_success() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node()
        js = bench.client.jetstream()
        config = (await js.stream_info(bench.prefix)).config
        await js.update_stream(config, max_msg_size=10)
        with pytest.raises(Unavailable, match="maximum"):
            await node.broker.publish([draft(USER), draft(USER, "x" * 100)])
        await js.delete_stream(bench.prefix)
        with pytest.raises(Unavailable):
            await node.publish(USER)

    play(scenario)


def test_interest_that_can_not_be_had_is_given_up() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node()
        broker = node.broker
        assert isinstance(broker, NatsBroker)
        assert broker._session
        session = broker._session
        await session.link.close()
        broker._session = session
        for attempt in (broker.subscribe([USER]), broker.replay([USER], 0)):
            with pytest.raises(Unavailable):
                await attempt
        assert "user.u.>" not in broker._feed.interests
        await until(lambda: bench.backend.stats.broker_reconnects == 1)

    play(scenario)


def test_without_an_engine_it_does_not_start() -> None:
    async def scenario(bench: Bench) -> None:
        broker = bench.backend.broker_at(f"nats://127.0.0.1:{free_port()}", 0.3)
        assert not broker.health().up
        with pytest.raises(Unavailable, match="NATS"):
            await bench.node(broker=broker)
        await broker.close()

    play(scenario)


def test_who_is_not_let_in_is_told_so() -> None:
    server = NatsServer("--user", "sse", "--pass", "secret")
    server.start()

    async def scenario(bench: Bench) -> None:
        with pytest.raises(BrokerProblem, match="Authorization Violation"):
            await bench.node(broker=bench.backend.broker_at(server.url))
        options = {"user": "sse", "password": "secret"}
        await bench.node(broker=bench.backend.broker_at(server.url, options=options))

    try:
        play(scenario)
    finally:
        server.close()


def test_interest_is_given_up_and_counted_per_user() -> None:
    async def scenario(bench: Bench) -> None:
        session = topic.session("u", "s")
        node = await bench.node(USER, session)
        node.broker.unsubscribe([USER])
        (result,) = await node.publish(session)
        await node.until_seen(result)
        node.broker.unsubscribe([session])
        await node.broker.subscribe([CHANNEL])
        published = await node.publish(USER, session, CHANNEL)
        await node.until_seen(published[-1])
        assert sequences(node.delivered) == positions([result, published[-1]])

    play(scenario)


def test_two_who_subscribe_at_once_share_one_subscription() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node()
        await asyncio.gather(*(node.broker.subscribe([USER]) for _ in range(5)))
        (result,) = await node.publish(USER)
        await node.until_seen(result)
        for _ in range(5):
            node.broker.unsubscribe([USER])
        (other,) = await node.publish(USER)
        (last,) = await node.publish(ALL)
        await node.until_seen(last)
        assert sequences(node.delivered) == positions([result, last])
        assert other.position.sequence not in sequences(node.delivered)

    play(scenario)


def test_many_who_subscribe_to_the_same_at_once_share_subscriptions() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node()
        many = [topic.user(str(number)) for number in range(1500)]  # more than nats-py sends in one turn of the loop
        await asyncio.gather(node.broker.subscribe(many), node.broker.subscribe(many))
        published = await node.publish(*many[-100:])
        await node.until_seen(published[-1])
        assert sequences(node.delivered) == positions(published)

    play(scenario)


def test_others_have_their_turn_while_many_topics_are_subscribed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node()
        many = [topic.user(str(number)) for number in range(4 * AT_ONCE)]
        most = await most_in_a_turn(monkeypatch, Link, "subscribe", node.broker.subscribe(many))
        assert AT_ONCE - 1 <= most <= AT_ONCE

    play(scenario)


def test_who_leaves_before_the_subscription_is_made_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node()
        subscribe = Link.subscribe

        async def leave_meanwhile(link: Link, subject: str, sink: Sink) -> Subscription:
            subscription = await subscribe(link, subject, sink)
            node.broker.unsubscribe([USER])
            return subscription

        with monkeypatch.context() as patch:
            patch.setattr(Link, "subscribe", leave_meanwhile)
            await node.broker.subscribe([USER])
        await node.broker.subscribe([ALL])
        published = await node.publish(USER, ALL)
        await node.until_seen(published[-1])
        assert sequences(node.delivered) == positions(published[-1:])

    play(scenario)

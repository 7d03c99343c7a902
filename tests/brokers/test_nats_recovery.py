"""What was missed on NATS is read again, and what can't be is told, held against a real server."""

import asyncio
from collections.abc import Mapping

import pytest

from broker_support import OTHER, USER, draft, positions
from nats_bench import Bench, play
from nats_support import shared_server
from outage_support import until
from support import sequences
from tornado_sse.brokers.nats import resumes
from tornado_sse.brokers.nats.broker import NatsBroker
from tornado_sse.brokers.nats.codec import interest_of
from tornado_sse.brokers.nats.layout import Layout
from tornado_sse.brokers.nats.reader import Kept
from tornado_sse.brokers.nats.session import Session
from tornado_sse.errors import Unavailable


def test_a_replay_across_two_sessions_is_not_trusted() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER)
        await node.publish(USER)
        broker = node.broker
        assert isinstance(broker, NatsBroker)
        session = broker._session
        assert session
        read = session.reader.subjects

        async def read_and_lose(wanted: Mapping[str, int], upto: int) -> dict[str, Kept]:
            broker._session = None
            return await read(wanted, upto)

        session.reader.subjects = read_and_lose  # type: ignore[method-assign]
        with pytest.raises(Unavailable, match="meanwhile"):
            await broker.replay([USER], 0)
        broker._suspect()  # nobody is there to hear it
        broker._session = session

    play(scenario)


def test_who_missed_very_much_asks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumes, "FAR", 5)

    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER)
        numbers = positions(await node.publish(*[USER] * 10))
        broker = node.broker
        assert isinstance(broker, NatsBroker)
        assert broker._session
        reader, asked = broker._session.reader, []
        read = reader.subjects

        async def note(wanted: Mapping[str, int], upto: int) -> dict[str, Kept]:
            asked.append(min(wanted.values()))
            return await read(wanted, upto)

        reader.subjects = note  # type: ignore[method-assign]
        pasts = await asyncio.gather(*(broker.replay([USER], after) for after in (0, numbers[-3], numbers[-2])))
        assert [sequences(past.messages) for past in pasts] == [numbers, numbers[-2:], numbers[-1:]]
        assert sorted(asked) == [0, numbers[-3]]

    play(scenario)


def test_after_a_change_of_leader_history_is_read_again() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER)
        broker = node.broker
        assert isinstance(broker, NatsBroker)
        assert broker._session
        feed, session = broker._feed, broker._session
        take, feed.arrive = feed.arrive, lambda arrival: None  # type: ignore[method-assign]  # noqa: ARG005
        published = await node.publish(USER)
        feed.arrive = take  # type: ignore[method-assign]
        session._leader = "another"
        await node.until_seen(published[0])
        assert node.holes == []

    play(scenario)


def test_the_stream_deleted_while_connected_is_a_new_epoch() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER)
        before = node.broker.epoch
        await node.publish(USER)
        await bench.backend.lose_history()
        await node.until(lambda: bool(node.renewals))
        await until(lambda: node.broker.health().up)
        assert node.renewals[0][0] == node.broker.epoch != before
        (after,) = await node.publish(USER)
        await node.until(lambda: len(node.delivered) == 2)
        assert after.position.epoch == node.broker.epoch
        assert bench.backend.stats.broker_reconnects == 1

    play(scenario)


def test_who_leaves_while_its_node_rejoins_is_subscribed_to_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER, OTHER)
        catch_up, leaving = NatsBroker._catch_up, [OTHER]

        async def leave(broker: NatsBroker, session: Session) -> None:
            if leaving:
                broker.unsubscribe([leaving.pop()])
            await catch_up(broker, session)

        monkeypatch.setattr(NatsBroker, "_catch_up", leave)
        await bench.backend.lose_history()
        await node.until(lambda: bool(node.renewals))
        broker = node.broker
        assert isinstance(broker, NatsBroker)
        await until(lambda: broker.health().up)
        session = broker._session
        assert session
        await until(lambda: interest_of(OTHER) not in session._subscriptions)
        assert interest_of(USER) in session._subscriptions

    play(scenario)


def test_another_epoch_is_noticed_by_who_is_connected() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER)
        js = bench.client.jetstream()
        info = await js.stream_info(bench.prefix)
        await js.update_stream(info.config, metadata={"tornado-sse-epoch": "another"})
        await node.until(lambda: [epoch for epoch, _ in node.renewals] == ["another"])
        await until(lambda: node.broker.health().up)

    play(scenario)


def test_sequences_that_went_back_are_a_new_epoch() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER)
        before = node.broker.epoch
        await node.publish(*[USER] * 10)
        await node.until(lambda: len(node.delivered) == 10)
        js = bench.client.jetstream()
        config = (await js.stream_info(bench.prefix)).config
        await js.delete_stream(bench.prefix)
        await js.add_stream(config)  # as a server does that lost what it had not written to disk
        await node.until(lambda: bool(node.renewals))
        await until(lambda: node.broker.health().up)
        assert node.broker.epoch != before

    play(scenario)


def test_a_hole_on_the_way_is_filled_from_history() -> None:
    async def scenario(bench: Bench) -> None:
        node = await bench.node(USER)
        (first,) = await node.publish(USER)
        await node.until_seen(first)
        feed = node.broker._feed  # type: ignore[attr-defined]
        take = feed.arrive
        feed.arrive = lambda _: None
        missed = await node.publish(USER, USER)
        feed.arrive = take
        published = [first, *missed, *await node.publish(USER)]
        await node.until_seen(published[-1])
        assert node.seen(USER) == positions(published)
        assert node.holes == []

    play(scenario)


def test_many_missed_messages_are_read_in_several_batches() -> None:
    async def scenario(bench: Bench) -> None:
        wanted = Layout(bench.prefix, size=5000, ttl=60, max_bytes=10**8, window=1)
        node = await bench.node(USER, broker=bench.backend.broker_at(shared_server().url, wanted=wanted))
        published = await node.broker.publish([draft(USER, str(number)) for number in range(600)])
        past = await node.broker.replay([USER, OTHER], 0)
        assert (sequences(past.messages), past.lost) == (positions(published), 0)
        await node.until(lambda: len(node.delivered) == 600)
        node.delivered.clear()
        node.broker._feed.begin(0)  # type: ignore[attr-defined]
        await node.broker._session.refill()  # type: ignore[attr-defined]
        assert node.seen(USER) == positions(published)

    play(scenario)

"""What the contract of `brokers/base.py` says of `replay`, held against every broker of `broker_support.BACKENDS`."""

import asyncio

from broker_support import CHANNEL, EVERY_BROKER, HISTORY, OTHER, SESSION, USER, Cluster, Run, draft, positions
from support import sequences
from tornado_sse.brokers.base import Past, Published
from tornado_sse.topic import ALL, Topic

pytestmark = EVERY_BROKER

# `replay` returns what was published to the topics after a sequence.


def test_a_replay_holds_the_topics_asked_for_each_message_once_and_in_order(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        one, two, three, four, five = await node.publish(USER, OTHER, (CHANNEL, USER), ALL, CHANNEL)
        last = five.position.sequence
        for topics, expected in [
            ([USER], [one, three]),
            ([CHANNEL], [three, five]),
            ([OTHER, ALL], [two, four]),
            ([CHANNEL, USER, OTHER, ALL], [one, two, three, four, five]),
            ([SESSION], []),
        ]:
            past = await node.broker.replay(topics, 0)
            assert (sequences(past.messages), past.lost) == (positions(expected), 0)
            assert past.upto >= last  # a broker may number messages of its own, too
        after = await node.broker.replay([USER, CHANNEL], one.position.sequence)
        assert sequences(after.messages) == positions([three, five])
        assert not (await node.broker.replay([USER], last)).messages

    run(scenario)


def test_the_example_of_the_contract(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(ALL, USER)
        first, second, third = await node.publish(USER, ALL, OTHER)
        past = await node.broker.replay([ALL, USER], first.position.sequence)
        assert sequences(past.messages) == positions([second])
        assert past.upto >= third.position.sequence
        assert not past.lost
        (fourth,) = await node.publish(USER)
        assert fourth.position.sequence > past.upto
        await node.until_seen(fourth)

    run(scenario)


def test_a_first_connect_replays_nothing(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        (result,) = await node.publish(USER)
        past = await node.broker.replay([USER], None)
        assert past == Past((), past.upto, 0)
        assert past.upto >= result.position.sequence

    run(scenario)


def test_a_position_in_the_future_is_no_error(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        (result,) = await node.publish(USER)
        past = await node.broker.replay([USER], result.position.sequence + 1000)
        assert past == Past((), past.upto, 0)
        assert past.upto < result.position.sequence + 1000

    run(scenario)


# It is complete up to `upto`: everything above `upto` reaches `deliver`.


def test_replay_and_delivery_leave_nothing_out_between_them(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(USER)
        begun = await node.publish(USER)

        async def resume() -> tuple[int, list[int]]:
            past = await node.broker.replay([USER], begun[0].position.sequence)
            return past.upto, sequences(past.messages)

        async def publish() -> list[Published]:
            return [result for _ in range(3) for result in await node.publish(USER, OTHER)]

        *pasts, published = await asyncio.gather(resume(), resume(), publish())
        await node.until_seen(published[-2])
        wanted = positions([result for number, result in enumerate(published) if number % 2 == 0])
        for upto, replayed in pasts:
            assert all(number <= upto for number in replayed)
            assert replayed + [number for number in node.seen(USER) if number > upto] == wanted

    run(scenario)


# What is gone is told by `lost`, never passed over.


def test_what_is_gone_is_told(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        published = await node.publish(*[USER] * (HISTORY + 30))
        numbers = positions(published)
        past = await node.broker.replay([USER], 0)
        kept = sequences(past.messages)
        assert kept == numbers[-len(kept) :]
        assert len(kept) >= HISTORY
        assert numbers[-len(kept) - 1] <= past.lost < kept[0]
        assert (await node.broker.replay([USER], past.lost)).lost == 0
        assert (await node.broker.replay([OTHER], past.lost)).lost == 0

    run(scenario)


def test_a_message_past_its_own_time_is_neither_replayed_nor_missed(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        drafts = [draft(USER, ttl=0), draft(USER, ttl=2), draft(USER, ttl=100), draft(USER)]
        published = await node.broker.publish(drafts)
        await cluster.backend.pass_time(3)
        past = await node.broker.replay([USER], 0)
        assert (sequences(past.messages), past.lost) == (positions(published)[2:], 0)

    run(scenario)


def test_who_asks_at_the_same_time_gets_what_each_missed(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        targets: list[Topic | tuple[Topic, ...]] = [USER, CHANNEL, OTHER, ALL, (USER, CHANNEL)]
        published = await node.publish(*targets * 3)
        numbers = positions(published)
        first, (user, channel, other, everybody, both) = numbers[0], (numbers[start::5] for start in range(5))
        heard = {
            (USER,): [*user, *both],
            (CHANNEL, ALL): [*channel, *everybody, *both],
            (OTHER,): other,
            (SESSION,): [],
        }
        questions = [(topics, after) for topics in heard for after in (first - 1, first, numbers[7], numbers[-1])]
        pasts = await asyncio.gather(*(node.broker.replay(topics, after) for topics, after in questions))
        for (topics, after), past in zip(questions, pasts, strict=True):
            assert sequences(past.messages) == sorted(number for number in heard[topics] if number > after)
            assert (past.upto >= numbers[-1], past.lost) == (True, 0)

    run(scenario)

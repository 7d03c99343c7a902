"""What the contract of `brokers/base.py` says of several nodes, and of an engine that is out of reach."""

import asyncio
import time

import pytest

from broker_support import CHANNEL, HISTORY, USER, positions
from outage_support import EVERY_ENGINE, NOTICED, Hub, Run, until
from support import sequences
from tornado_sse.brokers.base import Command, Disconnect, Refresh
from tornado_sse.errors import Unavailable

pytestmark = EVERY_ENGINE


def test_messages_reach_the_nodes_with_interest(run: Run) -> None:
    async def scenario(hub: Hub) -> None:
        here, there = await hub.near(USER), await hub.near(USER, CHANNEL)
        published = [result for node in (here, there) * 10 for result in await node.publish(USER, CHANNEL)]
        await here.until_seen(published[-2])
        await there.until_seen(published[-1])
        assert here.seen(USER) == positions(published[::2])
        assert there.seen(USER, CHANNEL) == positions(published)
        assert sequences((await here.broker.replay([CHANNEL], 0)).messages) == positions(published[1::2])

    run(scenario)


def test_a_black_hole_is_noticed_and_nothing_is_said_to_be_published(run: Run) -> None:
    async def scenario(hub: Hub) -> None:
        node = await hub.far(USER)
        hub.engine.proxy.stall()
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await node.publish(USER)
        await until(lambda: not node.broker.health().up, NOTICED)
        assert time.monotonic() - began < NOTICED
        for attempt in (
            node.publish(USER),
            node.broker.replay([USER], 0),
            node.broker.subscribe([CHANNEL]),
            node.broker.announce(Disconnect("u")),
            node.broker.tell(b"x"),
        ):
            with pytest.raises(Unavailable):
                await attempt
        hub.engine.proxy.flow()
        await until(lambda: node.broker.health().up)
        (after,) = await node.publish(USER)
        await node.until_seen(after)

    run(scenario)


def test_what_was_missed_in_a_black_hole_comes_before_what_is_live(run: Run) -> None:
    async def scenario(hub: Hub) -> None:
        far, near = await hub.far(USER), await hub.near()
        published = await near.publish(USER, CHANNEL)
        await far.until_seen(published[0])
        hub.engine.proxy.stall()
        await until(lambda: not far.broker.health().up)
        published += await near.publish(*[USER, CHANNEL] * 5)
        commands: list[Command] = [Refresh("u", "s", ("news",), 1e9), Disconnect("u", "s")]
        for command in commands:
            await near.broker.announce(command)
        hub.engine.proxy.flow()
        for _ in range(HISTORY // 2):
            published += await near.publish(USER)
            await asyncio.sleep(0)
        await far.until_seen(published[-1])
        wanted = [*published[:12:2], *published[12:]]
        assert far.seen(USER) == positions(wanted)
        assert far.commands == commands
        assert (far.holes, far.renewals) == ([], [])

    run(scenario)


def test_a_killed_engine_is_joined_again_and_no_message_is_missed(run: Run) -> None:
    async def scenario(hub: Hub) -> None:
        one, two = await hub.near(USER), await hub.near(USER)
        published = await one.publish(USER, USER)
        await two.until_seen(published[-1])
        epoch = one.broker.epoch
        hub.engine.kill()
        await until(lambda: not (one.broker.health().up or two.broker.health().up), NOTICED)
        for attempt in (one.publish(USER), one.broker.tell(b"lost")):
            with pytest.raises(Unavailable):
                await attempt
        hub.engine.start()
        await until(lambda: one.broker.health().up and two.broker.health().up)
        published += await one.publish(USER)
        await one.broker.tell(b"again")
        await two.until(lambda: two.heard == [b"again"])
        for node in (one, two):
            await node.until_seen(published[-1])
            assert node.seen(USER) == positions(published)
            assert (node.renewals == []) is hub.engine.durable is (node.broker.epoch == epoch)

    run(scenario)


def test_what_was_discarded_meanwhile_is_told(run: Run) -> None:
    async def scenario(hub: Hub) -> None:
        far, near = await hub.far(USER), await hub.near()
        hub.engine.proxy.stall()
        await until(lambda: not far.broker.health().up)
        published = await near.publish(*[USER] * (HISTORY + 30))
        hub.engine.proxy.flow()
        await far.until_seen(published[-1])
        told = {number for first, last in far.holes for number in range(first, last + 1)}
        assert set(positions(published)) - set(far.seen(USER)) == set(positions(published[:30]))
        assert set(positions(published[:30])) <= told

    run(scenario)


def test_lost_history_is_a_new_epoch_for_everyone(run: Run) -> None:
    async def scenario(hub: Hub) -> None:
        one, two = await hub.near(USER), await hub.near(USER)
        published = await one.publish(*[USER] * 5)
        await one.until_seen(published[-1])
        await two.until_seen(published[-1])
        before = one.broker.epoch
        hub.engine.kill()
        await until(lambda: not (one.broker.health().up or two.broker.health().up))
        hub.engine.forget()
        hub.engine.start()
        await until(lambda: one.broker.health().up and two.broker.health().up)
        assert one.broker.epoch == two.broker.epoch != before
        (after,) = await one.publish(USER)
        assert after.position.epoch == one.broker.epoch
        for node in (one, two):
            await node.until(lambda node=node: after.position.sequence == node.delivered[-1].sequence)  # type: ignore[misc]
            assert [epoch for epoch, _ in node.renewals] == [one.broker.epoch]
            assert node.renewals[0][1] < after.position.sequence

    run(scenario)

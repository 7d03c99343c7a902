"""The contract of `brokers/base.py`, sentence by sentence, held against every broker of `broker_support.BACKENDS`.

What it says of `replay` is in `test_conformance_replay.py`.
"""

import asyncio
import re

import pytest

from broker_support import (
    CHANNEL,
    EVERY_BROKER,
    HISTORY,
    OTHER,
    SESSION,
    USER,
    WINDOW,
    Cluster,
    Run,
    draft,
    positions,
    rising,
)
from support import sequences
from tornado_sse.brokers.base import Command, Disconnect, Health, Refresh
from tornado_sse.errors import Unavailable
from tornado_sse.message import Draft, number
from tornado_sse.position import parse
from tornado_sse.topic import ALL

TOPICS = [ALL, USER, SESSION, CHANNEL]

pytestmark = EVERY_BROKER

# `publish` gives each draft a position; positions grow with every message of the whole hub, over all topics, and are
# never used twice.


def test_positions_grow_over_all_topics(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        published = await node.publish(USER, CHANNEL, (ALL, OTHER), SESSION)
        for one in (USER, OTHER, ALL):
            published += await node.publish(one)
        assert rising(positions(published))
        assert positions(published)[0] >= 1
        assert {result.position.epoch for result in published} == {node.broker.epoch}
        assert not any(result.duplicate for result in published)

    run(scenario)


def test_positions_are_fit_for_the_wire(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        (result,) = await node.publish(USER)
        assert parse(str(result.position)) == result.position
        assert re.fullmatch(r"[0-9a-z]{1,32}", node.broker.epoch)

    run(scenario)


def test_publishers_at_the_same_time_get_positions_of_their_own(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        results = await asyncio.gather(*(node.publish(USER, CHANNEL) for _ in range(50)))
        assert all(rising(positions(published)) for published in results)
        assert len({number for published in results for number in positions(published)}) == 100

    run(scenario)


def test_publishing_nothing_is_nothing(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        assert await (await cluster.node()).publish() == []

    run(scenario)


# It returns once the broker would not lose the message, or raises `Unavailable`: never a success that is lost.


def test_what_was_published_can_be_replayed_at_once(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        for _ in range(10):
            (result,) = await node.publish(USER)
            past = await node.broker.replay([USER], result.position.sequence - 1)
            assert sequences(past.messages) == [result.position.sequence]

    run(scenario)


# A draft whose idempotency key was seen within the window is not published again; its receipt carries the first
# position.


def test_a_repeated_key_is_the_same_message(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(USER)
        first, again, other = await node.broker.publish(
            [draft(USER, key="a"), draft(USER, key="a"), draft(USER, key="b")]
        )
        (later,) = await node.broker.publish([draft(USER, "changed", key="a")])
        assert [first.duplicate, again.duplicate, other.duplicate, later.duplicate] == [False, True, False, True]
        assert first.position == again.position == later.position != other.position
        (last,) = await node.publish(USER)
        await node.until_seen(last)
        assert node.seen(USER) == positions([first, other, last])
        assert sequences((await node.broker.replay([USER], 0)).messages) == positions([first, other, last])

    run(scenario)


def test_a_key_is_forgotten_after_the_window(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        (first,) = await node.broker.publish([draft(USER, key="a")])
        await cluster.backend.pass_time(WINDOW + 1)
        (second,) = await node.broker.publish([draft(USER, key="a")])
        assert not second.duplicate
        assert second.position.sequence > first.position.sequence

    run(scenario)


def test_messages_without_a_key_are_always_new(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        published = await (await cluster.node()).publish(USER, USER)
        assert not any(result.duplicate for result in published)

    run(scenario)


# Every message of a topic with interest on this node reaches `deliver` at least once, in the order of positions over
# all topics of the node; what comes twice is dropped by its position before `deliver` sees it.


def test_topics_of_interest_are_delivered_in_order_over_all_of_them(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(*TOPICS)
        published = await node.publish(*[USER, CHANNEL, ALL, SESSION] * 20, (CHANNEL, USER))
        await node.until_seen(published[-1])
        assert node.seen(*TOPICS) == positions(published)
        assert rising(sequences(node.delivered))

    run(scenario)


def test_a_message_is_delivered_as_it_was_published(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(USER, CHANNEL)
        whole = Draft((CHANNEL, USER), 'a\n"é😀\0', event="order", key="k", ttl=50.0)
        (result,) = await node.broker.publish([whole])
        await node.until_seen(result)
        (message,) = node.delivered
        assert (message.topics, message.key) == ((CHANNEL, USER), "k")
        assert message.expires_at == pytest.approx(message.accepted_at + 50)
        assert message.frame.body == number(whole, result.position, 0).frame.body
        (replayed,) = (await node.broker.replay([USER], 0)).messages
        assert replayed.frame.body == message.frame.body

    run(scenario)


def test_a_message_of_two_topics_of_interest_is_delivered_once(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(USER, CHANNEL)
        published = await node.publish((USER, CHANNEL), ALL, (CHANNEL, USER, OTHER))
        await node.until_seen(published[-1])
        assert node.seen(USER, CHANNEL) == positions([published[0], published[2]])

    run(scenario)


def test_a_message_for_those_who_listen_now_is_delivered(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(USER)
        (result,) = await node.broker.publish([draft(USER, ttl=0)])
        await node.until_seen(result)

    run(scenario)


def test_interest_is_counted(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(USER)
        await node.broker.subscribe([USER, CHANNEL])
        node.broker.unsubscribe([USER])
        published = await node.publish(USER, CHANNEL)
        await node.until_seen(published[-1])
        assert node.seen(USER, CHANNEL) == positions(published)
        node.broker.unsubscribe([USER, CHANNEL])

    run(scenario)


def test_interest_may_be_taken_again(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(USER)
        node.broker.unsubscribe([USER])
        await node.broker.subscribe([USER])
        (result,) = await node.publish(USER)
        await node.until_seen(result)
        assert node.seen(USER) == positions([result])

    run(scenario)


# `announce` reaches every node, this one included, through `obey`.


COMMANDS: list[Command] = [
    Disconnect("u", "s"),
    Disconnect("u", revoked=True),
    Disconnect("é/ \n😀", "~"),
    Refresh("u", "s", ("news", "room.*", 'é"\\😀'), 1_700_000_000.25),
    Refresh("é/ \n😀", "~", (), 2.0**53 - 1),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reaches_every_node(run: Run, command: Command) -> None:
    async def scenario(cluster: Cluster) -> None:
        nodes = [await cluster.node() for _ in range(cluster.backend.nodes)]
        await nodes[0].broker.announce(command)
        for node in nodes:
            await node.until(lambda node=node: bool(node.commands))  # type: ignore[misc]
            assert node.commands == [command]

    run(scenario)


def test_commands_come_in_order_and_are_no_messages(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        nodes = [await cluster.node() for _ in range(cluster.backend.nodes)]
        for command in COMMANDS:
            await nodes[-1].broker.announce(command)
        for node in nodes:
            await node.until(lambda node=node: len(node.commands) == len(COMMANDS))  # type: ignore[misc]
            assert node.commands == COMMANDS
        assert not (await nodes[0].broker.replay(TOPICS, 0)).messages

    run(scenario)


# `tell` reaches every node through `hear`, if all goes well: at most once, in the order that one node tells it, beside
# the messages. Nothing of it is kept.


def test_what_a_node_tells_is_heard_in_order_and_not_kept(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        nodes = [await cluster.node() for _ in range(cluster.backend.nodes)]
        (before,) = await nodes[0].publish(USER)
        words = [b"one", b"\x00\xff\r\n", b"x" * 200_000]
        for one in words:
            await nodes[0].broker.tell(one)
        for node in nodes:
            await node.until(lambda node=node: len(node.heard) == len(words))  # type: ignore[misc]
            assert node.heard == words
        assert sequences((await nodes[0].broker.replay(TOPICS, 0)).messages) == positions([before])
        assert (await cluster.node()).heard == []

    run(scenario)


# The epoch changes when, and only when, history was lost or sequences could be used again.


def test_the_epoch_stays_while_history_does(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        nodes = [await cluster.node() for _ in range(cluster.backend.nodes)]
        epoch = nodes[0].broker.epoch
        published = await nodes[0].publish(*[USER] * (2 * HISTORY))
        await cluster.backend.pass_time(1000)
        (result,) = await nodes[0].publish(USER)
        assert [node.broker.epoch for node in nodes] == [epoch] * len(nodes)
        assert result.position.sequence > published[-1].position.sequence

    run(scenario)


def test_the_epoch_changes_with_the_loss_of_history(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        before = await cluster.node()
        await before.publish(USER)
        epoch = before.broker.epoch
        await before.broker.close()
        await cluster.backend.lose_history()
        after = await cluster.node()
        assert after.broker.epoch != epoch
        (result,) = await after.publish(USER)
        assert result.position.epoch == after.broker.epoch

    run(scenario)


# The methods of a node


def test_after_close_nothing_is_delivered(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(USER)
        (result,) = await node.publish(USER)
        await node.until_seen(result)
        await node.broker.close()
        try:
            await node.publish(USER)
            await node.broker.announce(Disconnect("u"))
            await node.broker.tell(b"x")
        except Unavailable:
            pass
        assert node.seen(USER) == positions([result])
        assert (node.commands, node.heard) == ([], [])

    run(scenario)


def test_a_started_broker_is_up_and_not_behind(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        assert (await cluster.node()).broker.health() == Health(up=True, lag=0)

    run(scenario)

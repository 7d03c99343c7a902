"""The contract of `brokers/base.py`, sentence by sentence, held against every broker.

A broker joins by adding its backend to BACKENDS; everything below is then held against it too.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from typing import Protocol

import pytest

from support import FakeClock, sequences
from tornado_sse import topic
from tornado_sse.brokers.base import Broker, Disconnect, Health, Past, Published
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.errors import Unavailable
from tornado_sse.history import History
from tornado_sse.message import Draft, Message
from tornado_sse.position import Position, parse
from tornado_sse.topic import ALL, Topic

PATIENCE = 10.0
"""Seconds that a real broker may take to deliver."""

HISTORY = 20
"""Messages kept for each topic."""

WINDOW = 30.0
"""Seconds in which an idempotency key is remembered."""

USER, OTHER, CHANNEL = topic.user("u"), topic.user("v"), topic.channel("c")
SESSION = topic.session("u", "s")
TOPICS = [ALL, USER, SESSION, CHANNEL]


class Backend(Protocol):
    """An engine that brokers connect to, new and empty: all its brokers are nodes of one hub."""

    nodes: int
    """How many nodes it can have at once, 2 meaning two or more."""
    fails: bool
    """Whether it can be made to fail, by `break_down` and `repair`."""

    def broker(self) -> Broker:
        """Make the broker of one more node, not started, with a history of HISTORY and a window of WINDOW."""

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for the broker."""

    async def lose_history(self) -> None:
        """Lose all that was kept; brokers are made anew afterwards."""

    async def break_down(self) -> None:
        """Be out of reach."""

    async def repair(self) -> None:
        """Be in reach again."""


class MemoryBackend:
    """One process's memory."""

    nodes = 1
    fails = False

    def __init__(self) -> None:
        self.clock = FakeClock()

    def broker(self) -> Broker:
        history = History(size=HISTORY, ttl=300, max_bytes=10**7, clock=self.clock)
        return MemoryBroker(history, idempotency_window=WINDOW, clock=self.clock)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def lose_history(self) -> None:
        """A new broker has a new history anyway."""

    async def break_down(self) -> None:
        raise NotImplementedError

    async def repair(self) -> None:
        raise NotImplementedError


@asynccontextmanager
async def memory() -> AsyncIterator[Backend]:
    yield MemoryBackend()


BackendFactory = Callable[[], AbstractAsyncContextManager[Backend]]
BACKENDS: list[BackendFactory] = [memory]


class Node:
    """A started broker, and what it handed to its node."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.delivered: list[Message] = []
        self.commands: list[Disconnect] = []
        self._changed = asyncio.Event()

    def deliver(self, messages: Sequence[Message]) -> None:
        self.delivered.extend(messages)
        self._changed.set()

    def command(self, command: Disconnect) -> None:
        self.commands.append(command)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_seen(self, last: Published) -> None:
        await self.until(lambda: last.position.sequence in sequences(self.delivered))

    def seen(self, *topics: Topic) -> list[int]:
        return sequences([message for message in self.delivered if not set(topics).isdisjoint(message.topics)])

    async def publish(self, *topics: Topic | tuple[Topic, ...]) -> list[Published]:
        return await self.broker.publish([draft(one) for one in topics])


class Cluster:
    """Nodes of one backend, started when asked for and closed at the end."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.started: list[Node] = []

    async def node(self, *topics: Topic) -> Node:
        node = Node(self.backend.broker())
        await node.broker.start(node.deliver, node.command)
        self.started.append(node)
        if topics:
            await node.broker.subscribe(topics)
        return node

    async def close(self) -> None:
        for node in self.started:
            await node.broker.close()


Run = Callable[[Callable[[Cluster], Awaitable[None]]], None]


@pytest.fixture(params=BACKENDS, ids=lambda factory: factory.__name__)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a scenario on a fresh backend."""

    async def play(scenario: Callable[[Cluster], Awaitable[None]]) -> None:
        factory: BackendFactory = request.param
        async with factory() as backend:
            cluster = Cluster(backend)
            try:
                await scenario(cluster)
            finally:
                await cluster.close()

    return lambda scenario: asyncio.run(play(scenario))


def draft(
    one: Topic | tuple[Topic, ...], data: str = "x", *, key: str | None = None, ttl: float | None = None
) -> Draft:
    return Draft((one,) if isinstance(one, Topic) else one, data, idempotency_key=key, ttl=ttl)


def positions(published: Sequence[Published]) -> list[int]:
    return [result.position.sequence for result in published]


def rising(numbers: Sequence[int]) -> bool:
    return all(before < after for before, after in pairwise(numbers))


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


def test_a_broker_out_of_reach_never_says_that_it_published(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        if not cluster.backend.fails:
            pytest.skip("this broker is never out of reach")
        node = await cluster.node(USER)
        (before,) = await node.publish(USER)
        await cluster.backend.break_down()
        for attempt in (node.publish(USER), node.broker.replay([USER], 0), node.broker.announce(Disconnect("u"))):
            with pytest.raises(Unavailable):
                await attempt
        assert node.broker.health().up is False
        await cluster.backend.repair()
        await node.until(lambda: node.broker.health().up)
        (after,) = await node.publish(USER)
        await node.until_seen(after)
        assert after.position > before.position or after.position.epoch != before.position.epoch

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
        assert second.position > first.position

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
        assert message.frame.body == Message(whole, result.position, 0).frame.body
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
            assert (sequences(past.messages), past.upto, past.lost) == (positions(expected), last, 0)
        after = await node.broker.replay([USER, CHANNEL], one.position.sequence)
        assert sequences(after.messages) == positions([three, five])
        assert await node.broker.replay([USER], last) == Past((), last, 0)

    run(scenario)


def test_the_example_of_the_contract(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node(ALL, USER)
        first, second, third = await node.publish(USER, ALL, OTHER)
        past = await node.broker.replay([ALL, USER], first.position.sequence)
        assert sequences(past.messages) == positions([second])
        assert (past.upto, past.lost) == (third.position.sequence, 0)
        (fourth,) = await node.publish(USER)
        assert fourth.position.sequence > past.upto
        await node.until_seen(fourth)

    run(scenario)


def test_a_first_connect_replays_nothing(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        assert await node.broker.replay([USER], None) == Past((), 0, 0)
        (result,) = await node.publish(USER)
        assert await node.broker.replay([USER], None) == Past((), result.position.sequence, 0)

    run(scenario)


def test_a_position_in_the_future_is_no_error(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = await cluster.node()
        (result,) = await node.publish(USER)
        last = result.position.sequence
        assert await node.broker.replay([USER], last + 1000) == Past((), last, 0)

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
        assert past.lost == numbers[-len(kept) - 1]
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


# `announce` reaches every node, this one included, through `command`.


@pytest.mark.parametrize("command", [Disconnect("u", "s"), Disconnect("u", revoked=True), Disconnect("é/ \n😀", "~")])
def test_a_command_reaches_every_node(run: Run, command: Disconnect) -> None:
    async def scenario(cluster: Cluster) -> None:
        nodes = [await cluster.node() for _ in range(cluster.backend.nodes)]
        await nodes[0].broker.announce(command)
        for node in nodes:
            await node.until(lambda node=node: bool(node.commands))  # type: ignore[misc]
            assert node.commands == [command]

    run(scenario)


# The epoch changes when, and only when, history was lost or sequences could be used again.


def test_the_epoch_stays_while_history_does(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        nodes = [await cluster.node() for _ in range(cluster.backend.nodes)]
        epoch = nodes[0].broker.epoch
        await nodes[0].publish(*[USER] * (2 * HISTORY))
        await cluster.backend.pass_time(1000)
        (result,) = await nodes[0].publish(USER)
        assert [node.broker.epoch for node in nodes] == [epoch] * len(nodes)
        assert result.position == Position(epoch, 2 * HISTORY + 1)

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


# Several nodes are one hub.


def test_messages_reach_the_nodes_with_interest(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        if cluster.backend.nodes < 2:
            pytest.skip("this broker has one node")
        here, there = await cluster.node(USER), await cluster.node(USER, CHANNEL)
        published = [result for node in (here, there) * 10 for result in await node.publish(USER, CHANNEL)]
        await here.until_seen(published[-2])
        await there.until_seen(published[-1])
        assert here.seen(USER) == positions(published[::2])
        assert there.seen(USER, CHANNEL) == positions(published)
        assert sequences((await here.broker.replay([CHANNEL], 0)).messages) == positions(published[1::2])

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
        except Unavailable:
            pass
        assert node.seen(USER) == positions([result])
        assert node.commands == []

    run(scenario)


def test_a_started_broker_is_up_and_not_behind(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        assert (await cluster.node()).broker.health() == Health(up=True, lag=0)

    run(scenario)

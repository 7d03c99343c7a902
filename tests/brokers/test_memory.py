"""What only the broker in memory promises."""

import asyncio

import pytest

from broker_support import Node
from client_support import until
from support import FakeClock, sequences
from tornado_sse import topic
from tornado_sse.brokers import memory
from tornado_sse.brokers.base import Disconnect
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.errors import Unavailable
from tornado_sse.history import SWEEP, History
from tornado_sse.message import Draft

USER = topic.user("u")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def broker(clock: FakeClock) -> MemoryBroker:
    history = History(size=3, ttl=60, max_bytes=10**6, clock=clock)
    return MemoryBroker(history, idempotency_window=10, clock=clock)


def test_messages_are_delivered_before_publish_returns_in_one_call(broker: MemoryBroker, clock: FakeClock) -> None:
    node = Node(broker)

    async def scenario() -> None:
        await broker.start(node)
        await broker.subscribe([USER])
        await broker.publish([Draft((USER,), "1"), Draft((USER,), "2")])
        broker.unsubscribe([USER])

    asyncio.run(scenario())
    assert [(one.sequence, one.accepted_at) for one in node.delivered] == [(1, clock.now), (2, clock.now)]


def test_a_command_is_carried_out_at_once(broker: MemoryBroker) -> None:
    node = Node(broker)

    async def scenario() -> None:
        await broker.start(node)
        await broker.announce(Disconnect("u", "s"))
        await broker.close()
        await broker.announce(Disconnect("u", "t"))
        await broker.tell(b"too late")

    asyncio.run(scenario())
    assert (node.commands, node.heard) == ([Disconnect("u", "s")], [])


def test_a_broker_that_is_not_started_keeps_what_is_published(broker: MemoryBroker) -> None:
    async def scenario() -> list[int]:
        await broker.publish([Draft((USER,), str(number), idempotency_key=str(number)) for number in range(5)])
        past = await broker.replay([USER], 0)
        assert (past.upto, past.lost) == (5, 2)
        assert await broker.replay([USER], None) == await broker.replay([USER], 5)
        return sequences(past.messages)

    assert asyncio.run(scenario()) == [3, 4, 5]


def test_a_key_seen_before_is_told_with_its_first_position(broker: MemoryBroker, clock: FakeClock) -> None:
    async def publish() -> tuple[int, bool]:
        (result,) = await broker.publish([Draft((USER,), "x", idempotency_key="k")])
        return result.position.sequence, result.duplicate

    assert asyncio.run(publish()) == (1, False)
    clock.advance(9)
    assert asyncio.run(publish()) == (1, True)
    clock.advance(1)
    assert asyncio.run(publish()) == (2, False)


def test_each_broker_has_an_epoch_of_its_own(clock: FakeClock) -> None:
    history = History(size=3, ttl=60, max_bytes=10**6, clock=clock)
    epochs = {MemoryBroker(history, idempotency_window=10).epoch for _ in range(20)}
    assert len(epochs) == 20


def test_memory_is_always_up(broker: MemoryBroker) -> None:
    assert broker.health().up


def test_of_idempotency_keys_the_oldest_go_first(clock: FakeClock) -> None:
    history = History(size=3, ttl=60, max_bytes=10**6, clock=clock)
    broker = MemoryBroker(history, idempotency_window=10, idempotency_keys=2, clock=clock)

    async def publish(*keys: str) -> list[bool]:
        drafts = [Draft((USER,), "x", idempotency_key=key) for key in keys]
        return [result.duplicate for result in await broker.publish(drafts)]

    assert asyncio.run(publish("a", "b", "c")) == [False, False, False]
    assert asyncio.run(publish("b", "c", "a")) == [True, True, False]


def test_what_is_too_old_is_let_go_of_though_nothing_is_published(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "SWEEP_EVERY", 0.001)
    history = History(size=3 * SWEEP, ttl=60, max_bytes=10**9, clock=clock)
    broker = MemoryBroker(history, idempotency_window=10, clock=clock)

    async def scenario() -> None:
        await broker.start(Node(broker))
        await broker.publish([Draft((USER,), "x")] * 3 * SWEEP)
        clock.advance(60)
        await until(lambda: history.bytes == 0)
        await broker.close()

    asyncio.run(scenario())
    assert history.bytes == 0


def test_after_close_nothing_is_taken(broker: MemoryBroker) -> None:
    async def scenario() -> None:
        await broker.close()
        with pytest.raises(Unavailable):
            await broker.publish([Draft((USER,), "late")])

    asyncio.run(scenario())

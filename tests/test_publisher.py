"""The way in for messages: counted, held back when too much waits, and handed to the broker."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from support import FakeClock, FakeStream
from tornado_sse import topic
from tornado_sse.brokers.base import Published
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.errors import Unavailable
from tornado_sse.history import History
from tornado_sse.hub import Hub
from tornado_sse.message import Draft
from tornado_sse.publisher import Publisher, Receipt
from tornado_sse.publishing import BadItem
from tornado_sse.registry import Registry
from tornado_sse.stats import Stats


class FailingBroker(MemoryBroker):
    """A broker that may be away."""

    up = True

    async def publish(self, drafts: Sequence[Draft]) -> list[Published]:
        if not self.up:
            raise Unavailable("away")
        return await super().publish(drafts)


class Bench:
    """A publisher whose registry has nothing but figures and a hub."""

    def __init__(self) -> None:
        clock = FakeClock()
        history = History(size=10, ttl=60, max_bytes=10**6, clock=clock)
        self.stats = Stats()
        self.hub: Hub[FakeStream] = Hub()
        self.broker = FailingBroker(history, idempotency_window=60, clock=clock)
        self.publisher = Publisher(self.broker, self.registry(), budget=1000)

    def registry(self) -> Registry:
        return cast("Registry", SimpleNamespace(stats=self.stats, hub=self.hub))

    def publish(self, *drafts: Draft | BadItem) -> list[Receipt | BadItem]:
        return asyncio.run(self.publisher.publish(drafts))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def draft(user: str = "u", key: str | None = None) -> Draft:
    return Draft((topic.user(user),), "x", idempotency_key=key)


def test_each_message_gets_a_receipt_with_position_and_reach(bench: Bench) -> None:
    for user in "uuv":
        bench.hub.add(FakeStream(user))
    receipts = bench.publish(draft("u"), draft("v"), draft("w"))
    assert [receipt.streams for receipt in receipts if isinstance(receipt, Receipt)] == [2, 1, 0]
    assert [receipt.position.sequence for receipt in receipts if isinstance(receipt, Receipt)] == [1, 2, 3]
    assert bench.stats.messages_published == {"accepted": 3, "invalid": 0, "duplicate": 0}


def test_a_batch_to_the_same_streams_looks_at_them_once(bench: Bench) -> None:
    looks = 0

    class Looked(FakeStream):
        def __hash__(self) -> int:
            nonlocal looks
            looks += 1
            return id(self)

    for labelled in (True, False):
        bench.hub.add(Looked("u", channels=("a", "b"), labelled=labelled))
    both = Draft((topic.channel("a"), topic.channel("b")), "x")
    looks = 0
    bench.publish(both)
    once, looks = looks, 0
    receipts = bench.publish(both, both, draft("u"), both)
    assert [receipt.streams for receipt in receipts if isinstance(receipt, Receipt)] == [2, 2, 2, 2]
    assert once == looks > 0


def test_bad_items_stand_in_their_own_places(bench: Bench) -> None:
    bad, worse = BadItem("bad"), BadItem("worse")
    first, second, third, fourth = bench.publish(bad, draft(), worse, draft())
    assert (first, third) == (bad, worse)
    assert isinstance(second, Receipt)
    assert isinstance(fourth, Receipt)
    assert (second.position.sequence, fourth.position.sequence) == (1, 2)
    assert bench.stats.messages_published["invalid"] == 2
    assert bench.stats.messages_published["accepted"] == 2


def test_nothing_but_bad_items(bench: Bench) -> None:
    bad = BadItem("bad")
    assert bench.publish(bad) == [bad]
    assert bench.stats.messages_published["accepted"] == 0


def test_a_duplicate_reaches_nobody(bench: Bench) -> None:
    bench.hub.add(FakeStream("u"))
    first, again = bench.publish(draft(key="k"), draft(key="k"))
    (later,) = bench.publish(draft(key="k"))
    assert isinstance(first, Receipt)
    assert first == Receipt(first.position, 1, duplicate=False)
    assert again == later == Receipt(first.position, 0, duplicate=True)
    assert bench.stats.messages_published == {"accepted": 1, "duplicate": 2, "invalid": 0}


def test_a_broker_that_is_away_is_counted_and_told(bench: Bench) -> None:
    bench.broker.up = False
    with pytest.raises(Unavailable, match="away"):
        bench.publish(draft(), BadItem("bad"), draft())
    assert bench.stats.messages_published == {"invalid": 1, "unavailable": 2}


def test_too_much_waiting_holds_publishers_back(bench: Bench) -> None:
    bench.stats.outbox_bytes = 1000
    assert len(bench.publish(draft())) == 1
    bench.stats.outbox_bytes = 1001
    with pytest.raises(Unavailable, match="too much waits") as raised:
        bench.publish(draft())
    assert raised.value.headers["Retry-After"] == "1"
    assert bench.stats.messages_published["unavailable"] == 1
    bench.publisher.budget = 2000
    assert len(bench.publish(draft())) == 1


def test_messages_refused_elsewhere_are_counted(bench: Bench) -> None:
    bench.publisher.count_invalid()
    bench.publisher.count_invalid(3)
    assert bench.stats.messages_published["invalid"] == 4

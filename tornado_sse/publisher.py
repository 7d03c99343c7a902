"""The one way in for messages: counts them, holds back when too much waits, and hands them to the broker."""

from collections.abc import Sequence
from functools import cache

import msgspec

from tornado_sse.brokers.base import Broker
from tornado_sse.errors import Unavailable
from tornado_sse.message import Draft
from tornado_sse.position import Position
from tornado_sse.publishing import BadItem, PublishResult
from tornado_sse.registry import Registry


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What became of a message: its position, how many open streams of this node it concerns, and if it was known."""

    position: Position
    streams: int
    duplicate: bool


class Publisher:
    """Publishes drafts through a broker. `budget` is how many bytes may wait in all outboxes together."""

    def __init__(self, broker: Broker, registry: Registry, budget: int) -> None:
        self._broker = broker
        self._registry = registry
        self.budget = budget

    def count_invalid(self, messages: int = 1) -> None:
        """Count messages that were no good."""
        self._registry.stats.messages_published[PublishResult.INVALID.value] += messages

    async def publish(self, drafts: Sequence[Draft | BadItem]) -> list[Receipt | BadItem]:
        """Publish what is good, in order; a bad item takes its own place.

        Raises Unavailable: then there are no receipts, but some may have gone all the same if an engine did not answer.
        """
        good = [draft for draft in drafts if isinstance(draft, Draft)]
        self.count_invalid(len(drafts) - len(good))
        try:
            receipts = iter(await self._send(good))
        except Unavailable:
            self._registry.stats.messages_published[PublishResult.UNAVAILABLE.value] += len(good)
            raise
        return [draft if isinstance(draft, BadItem) else next(receipts) for draft in drafts]

    async def _send(self, drafts: list[Draft]) -> list[Receipt]:
        if self._registry.stats.outbox_bytes > self.budget:
            raise Unavailable("too much waits for slow streams; try again")
        published = await self._broker.publish(drafts)
        duplicates = sum(result.duplicate for result in published)
        counts = self._registry.stats.messages_published
        counts[PublishResult.DUPLICATE.value] += duplicates
        counts[PublishResult.ACCEPTED.value] += len(drafts) - duplicates
        one = self._registry.hub.reach
        several = cache(one)  # takes a look at each stream, and a batch may name the same many each time
        return [
            Receipt(
                result.position,
                0 if result.duplicate else (one if len(draft.topics) == 1 else several)(draft.topics),
                result.duplicate,
            )
            for draft, result in zip(drafts, published, strict=True)
        ]

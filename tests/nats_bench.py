"""Nodes on the shared server of NATS, and a client beside them that speaks to it as a backend may."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from nats import connect
from nats.aio.client import Client

from broker_support import NatsBackend, Node
from nats_support import shared_server
from outage_support import PROBE
from tornado_sse import topic
from tornado_sse.brokers.nats.broker import NatsBroker


class Bench:
    """A backend on the shared server, a plain client of NATS, and nodes that are closed at the end."""

    def __init__(self, client: Client) -> None:
        self.backend = NatsBackend(shared_server().url)
        self.client = client
        self.nodes: list[Node] = []

    @property
    def prefix(self) -> str:
        return self.backend.prefix

    async def node(self, *topics: topic.Topic, broker: NatsBroker | None = None) -> Node:
        node = Node(broker or self.backend.broker_at(shared_server().url, PROBE))
        await node.broker.start(node)
        self.nodes.append(node)
        await node.broker.subscribe(topics)
        await node.broker.replay(topics, None)
        return node

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> int:
        """Publish as a backend may."""
        ack = await self.client.jetstream().publish(f"{self.prefix}.m.{subject}", payload, headers=headers)
        return ack.seq


def play(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    @asynccontextmanager
    async def bench() -> AsyncIterator[Bench]:
        client = await connect(shared_server().url)
        bench = Bench(client)
        try:
            yield bench
        finally:
            for node in bench.nodes:
                await node.broker.close()
            await client.close()

    async def run() -> None:
        async with bench() as one:
            await scenario(one)

    asyncio.run(run())

"""Three NATS servers that keep three replicas: reads that a replica answers which is behind, and a leader that dies."""

import asyncio
from collections.abc import Iterator

import pytest
from nats import connect

from broker_support import HISTORY, OTHER, PATIENCE, USER, NatsBackend, Node, draft, positions
from nats_support import NatsServer, nats_cluster
from outage_support import until
from support import sequences
from tornado_sse.brokers.base import Broker
from tornado_sse.brokers.nats.layout import Layout
from tornado_sse.errors import Unavailable

pytestmark = pytest.mark.slow

PROBE = 2.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[NatsServer]]:
    with nats_cluster(3) as servers:
        yield servers


async def started(broker: Broker) -> Node:
    """Start a node, once the servers agreed on who leads."""
    node = Node(broker)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await broker.start(node)
                break
            except Unavailable:
                await asyncio.sleep(0.2)
    await broker.subscribe([USER])
    await broker.replay([USER], None)
    return node


async def leader(cluster: list[NatsServer], backend: NatsBackend) -> NatsServer:
    client = await connect([server.url for server in cluster])
    info = await client.jetstream().stream_info(backend.prefix)
    await client.close()
    assert info.cluster
    return next(server for server in cluster if server.name == info.cluster.leader)


async def publish(node: Node) -> list[int]:
    """Publish until it is a success; what was none may have gone, too."""
    while True:
        try:
            return positions(await node.publish(USER))
        except Unavailable:
            await asyncio.sleep(0.05)


def test_replicas_answer_and_a_dead_leader_loses_nothing(cluster: list[NatsServer]) -> None:
    backend = NatsBackend(cluster[0].url)
    wanted = Layout(backend.prefix, size=HISTORY * 10, ttl=300, max_bytes=10**7, window=1, replicas=3)
    urls = tuple(server.url for server in cluster)

    async def scenario() -> None:
        nodes = [await started(backend.broker_at(urls, PROBE, wanted)) for _ in range(2)]
        one, two = nodes
        for _ in range(10):  # each read at once, by whatever replica
            published = await one.broker.publish([draft(USER), draft(OTHER), draft(USER)])
            past = await two.broker.replay([USER, OTHER], published[0].position.sequence - 1)
            assert (sequences(past.messages), past.lost) == (positions(published), 0)
        await two.until_seen(published[-1])
        dead = await leader(cluster, backend)
        dead.stop()
        acknowledged = [number for _ in range(20) for number in await publish(one)]
        dead.start()
        for node in nodes:
            await until(lambda node=node: node.broker.health().up)  # type: ignore[misc]
            await until(lambda node=node: set(acknowledged) <= set(node.seen(USER)))  # type: ignore[misc]
            assert node.seen(USER) == sorted(set(node.seen(USER)))
            assert (node.holes, node.renewals) == ([], [])
            await node.broker.close()

    asyncio.run(scenario())

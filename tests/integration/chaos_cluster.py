"""What a chaos run is about: NATS servers with three replicas, nodes that reach them by proxies, nginx before them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nats import connect
from nats.errors import Error as NatsError

from chaos_node import SOUND, ChaosNode
from nats_support import NatsServer, nats_cluster
from nginx_support import nginx
from tcp_proxy import TcpProxy, tcp_proxy
from valkey_support import valkey

PATIENCE = 60.0
"""Seconds that the servers may take to agree again."""

STREAM = "sse"
SETTINGS = {
    "keepalive": 4,
    "retry": 1,
    "history_size": 100_000,
    "max_streams_per_user": 0,
}


@dataclass
class Cluster:
    """It runs. `port` is that of nginx; `links` are, for each node, its proxies to the servers, if it has such."""

    port: int
    nodes: list[ChaosNode]
    servers: list[NatsServer]
    links: list[list[TcpProxy]]

    async def kill_server(self, server: NatsServer, hold: float) -> None:
        """SIGKILL a server, start it again so many seconds later, and wait until it has caught up."""
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(hold)
        await asyncio.to_thread(server.start)
        await self.whole()

    async def leader(self) -> NatsServer:
        """Find the server that leads the stream."""
        name = (await self.whole())["leader"]
        return next(server for server in self.servers if server.name == name)

    async def stall(self, member: int, hold: float) -> None:
        """Have the node's links pass nothing for so many seconds, and wait until it is ready again."""
        for link in self.links[member]:
            link.stall()
        await asyncio.sleep(hold)
        for link in self.links[member]:
            link.flow()
        await self.nodes[member].ready()

    async def whole(self) -> dict[str, Any]:
        """Wait until the stream has a leader and all replicas are current; return what is said of them."""
        async with asyncio.timeout(PATIENCE):
            while True:
                cluster = await self._ask()
                replicas = cluster.get("replicas") or []
                if len(replicas) == len(self.servers) - 1 and all(one["current"] for one in replicas):
                    return cluster
                await asyncio.sleep(0.1)

    async def _ask(self) -> dict[str, Any]:
        urls = [server.url for server in self.servers]
        try:
            client = await connect(urls, allow_reconnect=False, connect_timeout=1, error_cb=_ignore)
            try:
                answer = await client.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=1)
            finally:
                await client.close()
        except (NatsError, OSError, TimeoutError):
            return {}
        return json.loads(answer.data).get("cluster") or {}


async def _ignore(_: Exception) -> None:
    """Say nothing: the next try tells."""


@asynccontextmanager
async def cluster(
    folder: Path,
    *,
    nodes: int,
    settings: Mapping[str, object],
    code: Sequence[str] = SOUND,
    stalling: bool = True,
) -> AsyncIterator[Cluster]:
    """Run one until the block ends; logs go to the folder. `stalling`: whether the nodes' links can stall."""
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(nats_cluster(3))
        links = [await _links(stack, servers) if stalling else [] for _ in range(nodes)]
        urls = [_urls([link.port for link in ours] or [one.port for one in servers]) for ours in links]
        settings = {"broker_replicas": 3, **settings}
        port, running = await stack.enter_async_context(_behind_nginx(folder, urls, settings, code))
        yield Cluster(port, running, servers, links)


@asynccontextmanager
async def redis_cluster(folder: Path, *, nodes: int, settings: Mapping[str, object]) -> AsyncIterator[Cluster]:
    """Run nodes on one Valkey server until the block ends."""
    async with valkey() as server, _behind_nginx(folder, [server.url] * nodes, settings, SOUND) as (port, running):
        yield Cluster(port, running, [], [])


@asynccontextmanager
async def _behind_nginx(
    folder: Path, brokers: Sequence[str], settings: Mapping[str, object], code: Sequence[str]
) -> AsyncIterator[tuple[int, list[ChaosNode]]]:
    """Run a node for each broker, nginx before them; give nginx's port and the nodes."""
    running = [
        ChaosNode(f"node {number}", folder / f"node-{number}.log", {**SETTINGS, **settings, "broker": broker}, code)
        for number, broker in enumerate(brokers)
    ]
    with nginx([node.port for node in running]) as port:
        async with _watching(running):
            for node in running:
                await node.ready()
            yield port, running


async def _links(stack: AsyncExitStack, servers: Sequence[NatsServer]) -> list[TcpProxy]:
    return [await stack.enter_async_context(tcp_proxy(server.port)) for server in servers]


def _urls(ports: Sequence[int]) -> str:
    return ",".join(f"nats://127.0.0.1:{port}" for port in ports)


@asynccontextmanager
async def _watching(nodes: Sequence[ChaosNode]) -> AsyncIterator[None]:
    watchers = [asyncio.create_task(node.watch()) for node in nodes]
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.wait(watchers)

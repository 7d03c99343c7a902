"""The broker on Redis when the master changes: killed under Sentinel, or demoted but alive."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from broker_support import PATIENCE, USER, Node, rising
from outage_support import PROBE
from tcp_proxy import TcpProxy, tcp_proxy
from tornado_sse.brokers.base import Published
from tornado_sse.errors import Unavailable
from tornado_sse.message import Message
from tornado_sse.position import parse
from valkey_support import Valkey, make_terms, redis_broker, until_rejoined

FAILOVER = 10.0
"""Seconds after which delivery must go on."""


class Witness(Node):
    """Keeps when what came: positions, in runs between the gaps that it was told of, and the times of these."""

    def __init__(self, url: str) -> None:
        super().__init__(redis_broker(url, make_terms(size=10_000, probe=PROBE)))
        self.runs: list[list[str]] = [[]]
        self.gaps: list[float] = []
        self.last = 0.0

    def deliver(self, messages: Sequence[Message]) -> None:
        super().deliver(messages)
        self.last = time.monotonic()
        self.runs[-1] += [message.frame.body.decode().partition("\nid: ")[2].strip() for message in messages]

    def lost(self, first: int, last: int) -> None:
        super().lost(first, last)
        self._gap()

    def renew(self, epoch: str, upto: int) -> None:
        super().renew(epoch, upto)
        self._gap()

    def _gap(self) -> None:
        self.gaps.append(time.monotonic())
        self.runs.append([])

    def check(self, acknowledged: Sequence[tuple[float, Published]]) -> None:
        """Everything acknowledged was delivered, or told as a gap afterwards; and all came in order."""
        got = {position for run in self.runs for position in run}
        missing = [one for one in acknowledged if str(one[1].position) not in got]
        assert not missing or (self.gaps and max(self.gaps) >= max(at for at, _ in missing)), missing[:5]
        for run in self.runs:
            assert rising([position.sequence for text in run if (position := parse(text))])


class Publishers:
    """Publish on nodes without pause, and keep what was acknowledged when."""

    def __init__(self, *nodes: Node) -> None:
        self.acknowledged: list[tuple[float, Published]] = []
        self.refused = 0
        self._tasks = [asyncio.create_task(self._publish(node)) for node in nodes]

    async def _publish(self, node: Node) -> None:
        while True:
            try:
                (result,) = await node.publish(USER)
                self.acknowledged.append((time.monotonic(), result))
            except Unavailable:
                self.refused += 1
            await asyncio.sleep(0.002)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


class Pair:
    """A master and its replica."""

    def __init__(self, master: Valkey, replica: Valkey) -> None:
        self.master = master
        self.replica = replica

    async def until_in_step(self) -> None:
        await until(lambda: _in_step(self.replica))


async def _in_step(replica: Valkey) -> bool:
    return bool((await replica.client.info("replication"))["master_link_status"] == "up")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(2 * PATIENCE):
        while not await condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def servers(*names: str) -> AsyncIterator[list[tuple[Path, Valkey]]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        made = []
        for name in names:
            (folder / name).mkdir()
            server = Valkey(folder / name, "--save", "", "--repl-diskless-sync-delay", "0")
            stack.push_async_callback(server.close)
            server.start()
            made.append((folder / name, server))
        yield made


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    async with servers("one", "other") as ((_, master), (_, replica)):
        await replica.call("REPLICAOF", "127.0.0.1", master.port)
        one = Pair(master, replica)
        await one.until_in_step()
        yield one


@asynccontextmanager
async def sentinel(of: Pair) -> AsyncIterator[Valkey]:
    with TemporaryDirectory() as name:
        config = Path(name) / "sentinel.conf"
        config.write_text(
            f"sentinel monitor main 127.0.0.1 {of.master.port} 1\n"
            "sentinel down-after-milliseconds main 1000\n"
            "sentinel failover-timeout main 6000\n"
        )
        watcher = Valkey(Path(name), str(config), "--sentinel")
        try:
            watcher.start()
            await until(lambda: _knows_a_replica(watcher))
            yield watcher
        finally:
            await watcher.close()


async def _knows_a_replica(watcher: Valkey) -> bool:
    masters: Any = await watcher.client.sentinel_masters()
    return bool(masters["main"]["num-slaves"] == 1)


@asynccontextmanager
async def witnesses(*urls: str) -> AsyncIterator[list[Witness]]:
    nodes = [Witness(url) for url in urls]
    try:
        for node in nodes:
            await node.broker.start(node)
            await node.broker.subscribe([USER])
        yield nodes
    finally:
        for node in nodes:
            await node.broker.close()


async def until_delivery_goes_on(nodes: Sequence[Witness], since: float) -> None:
    """Wait until every node got something that was published on the new master."""
    async with asyncio.timeout(FAILOVER - (time.monotonic() - since)):
        while not all(node.gaps and node.last > node.gaps[-1] and node.runs[-1] for node in nodes):
            await asyncio.sleep(0.02)


async def acknowledged(node: Node) -> Published:
    """Publish until it is a success, as a publisher would."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(Unavailable):
                (last,) = await node.publish(USER)
                return last
            await asyncio.sleep(0.05)


async def settle(nodes: Sequence[Witness], publishers: Publishers) -> None:
    """Publish for a moment more, then wait for the last message."""
    await asyncio.sleep(0.3)
    await publishers.stop()
    last = await acknowledged(nodes[0])
    for node in nodes:
        await node.until(lambda node=node: str(last.position) in node.runs[-1])  # type: ignore[misc]


def test_a_master_killed_under_sentinel_loses_nothing_that_is_not_told() -> None:
    async def scenario() -> None:
        async with pair() as engine, sentinel(engine) as watcher:
            url = f"redis+sentinel://127.0.0.1:{watcher.port}/main"
            async with witnesses(url, url) as nodes:
                publishers = Publishers(*nodes)
                await nodes[1].until(lambda: len(nodes[1].delivered) > 200)
                engine.master.kill()
                await until_delivery_goes_on(nodes, time.monotonic())
                await settle(nodes, publishers)
                assert publishers.refused
                for node in nodes:
                    node.check(publishers.acknowledged)
                assert nodes[0].broker.epoch == nodes[1].broker.epoch

    asyncio.run(scenario())


def test_a_master_demoted_under_sentinel_but_alive_is_left() -> None:
    async def scenario() -> None:
        async with pair() as engine, sentinel(engine) as watcher:
            url = f"redis+sentinel://127.0.0.1:{watcher.port}/main"
            async with witnesses(url, url) as nodes:
                publishers = Publishers(*nodes)
                await nodes[1].until(lambda: len(nodes[1].delivered) > 200)
                await watcher.call("SENTINEL", "FAILOVER", "main")
                await until_delivery_goes_on(nodes, time.monotonic())
                await settle(nodes, publishers)
                for node in nodes:
                    node.check(publishers.acknowledged)

    asyncio.run(scenario())


def test_a_master_demoted_without_a_word_is_noticed_though_it_answers() -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(pair())
            gate = await stack.enter_async_context(tcp_proxy(engine.master.port))
            (node,) = await stack.enter_async_context(witnesses(f"redis://127.0.0.1:{gate.port}"))
            (before,) = await node.publish(USER)
            await node.until_seen(before)
            await engine.until_in_step()
            await engine.replica.call("REPLICAOF", "NO", "ONE")
            await engine.master.call("REPLICAOF", "127.0.0.1", engine.replica.port)
            await node.until_up(up=False)
            gate.target = engine.replica.port
            await node.until_up()
            assert await engine.master.call("PING")
            (after,) = await node.publish(USER)
            await node.until(lambda: str(after.position) in node.runs[-1])
            assert after.position.epoch != before.position.epoch
            assert after.position.sequence == before.position.sequence + 1

    asyncio.run(scenario())


def test_what_a_demoted_master_went_on_to_acknowledge_is_told_to_those_who_had_left_it() -> None:
    async def scenario() -> None:
        async with pair() as engine, tcp_proxy(engine.master.port) as late, tcp_proxy(engine.master.port) as early:
            urls = [f"redis://127.0.0.1:{gate.port}" for gate in (late, early)]
            async with witnesses(*urls) as (behind, ahead):
                await engine.until_in_step()
                await engine.replica.call("REPLICAOF", "NO", "ONE")
                await move(early, engine.replica, ahead)
                told = len(ahead.gaps)
                results = await behind.publish(USER)
                acknowledged = [(time.monotonic(), result) for result in results]
                engine.master.kill()
                late.target = engine.replica.port
                await behind.until(lambda: bool(behind.gaps))
                await ahead.until(lambda: len(ahead.gaps) > told)
                for node in (behind, ahead):
                    node.check(acknowledged)
                    await node.until_up()
                assert ahead.broker.epoch == behind.broker.epoch != results[0].position.epoch
                (last,) = await behind.publish(USER)
                await ahead.until(lambda: str(last.position) in ahead.runs[-1])

    asyncio.run(scenario())


async def move(gate: TcpProxy, server: Valkey, node: Witness) -> None:
    """Lead a node to another server, and wait until it has joined there."""
    gate.target = server.port
    await gate.cut()
    await node.until(lambda: bool(node.gaps))
    await node.until_up()


def test_the_first_replica_of_a_master_is_no_reason_for_an_epoch() -> None:
    async def scenario() -> None:
        async with servers("one", "other") as ((_, master), (_, replica)), witnesses(master.url) as (node,):
            before = await node.publish(USER)
            await replica.call("REPLICAOF", "127.0.0.1", master.port)
            await until(lambda: _in_step(replica))
            await until_rejoined(node)  # the replication id is another, which is looked into
            (after,) = await node.publish(USER)
            await node.until_seen(after)
            assert (node.gaps, after.position.epoch) == ([], before[0].position.epoch)

    asyncio.run(scenario())

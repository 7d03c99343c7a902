"""Faults that are really injected make their alerts fire, and clear when they are over."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import ops_faults
from nats_support import NatsServer, free_port
from ops_faults import Scene
from ops_load import load, publish, running
from prometheus_support import Prometheus, prometheus
from serve_support import served
from server_support import Target
from workers_support import crew, until_ready, workers

pytestmark = [pytest.mark.ops, pytest.mark.slow]

Fault = Callable[[Scene], AbstractAsyncContextManager[None]]

FAULTS: list[tuple[Fault, set[str]]] = [
    (ops_faults.broker_killed, {"BrokerDown", "PublishingRefused", "ConnectErrorsFast", "CanaryDied"}),
    (ops_faults.broker_without_its_data, {"HistoryLost"}),
    (ops_faults.clients_stop_reading, {"SlowConsumers"}),
    (ops_faults.descriptors_exhausted, {"Descriptors"}),
    (ops_faults.loop_stalled, {"LoopLag"}),
    (ops_faults.process_hangs, {"Down"}),
    (ops_faults.streams_at_the_cap, {"StreamsFull", "ConnectErrorsFast"}),
    (ops_faults.clients_away_for_too_long, {"Gaps"}),
]
SETTINGS = {"broker_probe": 0.3, "outbox_age": 1, "max_streams": 60, "max_streams_per_user": 0, "history_size": 50}
NEEDED: dict[Fault, dict[str, object]] = {
    ops_faults.broker_killed: {"canary": 0.5},
    ops_faults.clients_away_for_too_long: {"history_size": 3},
}


@pytest.fixture
def program(need_program: Callable[[str], str]) -> str:
    return need_program("prometheus")


@asynccontextmanager
async def scene_of(
    program: str, folder: Path, alerts: set[str], **settings: Any
) -> AsyncIterator[tuple[Scene, Prometheus]]:
    """A server with a broker under load, watched, of which these alerts say nothing yet."""
    broker = NatsServer()
    broker.start()
    try:
        async with (
            served(broker=broker.url, **SETTINGS | settings) as server,
            load(server),
            prometheus(program, folder, server.admin_port) as asked,
        ):
            assert await asked.missing({"job:tornado_sse_messages_delivered:rate5m > 0"}) == set()
            assert not alerts & (await asked.alerts()).keys()
            yield Scene(server, broker), asked
    finally:
        broker.close()


@pytest.mark.parametrize(("fault", "alerts"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
@pytest.mark.gen_test(timeout=300)
async def test_alert_fires_and_clears(fault: Fault, alerts: set[str], program: str, tmp_path: Path) -> None:
    async with scene_of(program, tmp_path, alerts, **NEEDED.get(fault, {})) as (scene, asked):
        async with fault(scene):
            await asked.until(lambda firing: alerts <= set(firing))
        await asked.until(lambda firing: not alerts & set(firing))


@pytest.mark.gen_test(timeout=300)
async def test_a_drain_without_end_and_a_node_that_is_gone(program: str, tmp_path: Path) -> None:
    port = free_port()
    async with served(admin_port=port, drain_time=300) as server, prometheus(program, tmp_path, port) as asked:
        for number in range(10):
            await server.opened(f"s{number}")
        server.send_signal(signal.SIGTERM)
        await asked.until(lambda firing: "DrainStuck" in firing)
        server.send_signal(signal.SIGTERM)
        await asked.until(lambda firing: "Down" in firing and "DrainStuck" not in firing)
        async with served(admin_port=port):
            await asked.until(lambda firing: "Down" not in firing)


@pytest.mark.gen_test(timeout=300)
async def test_messages_that_reach_nobody(program: str, tmp_path: Path) -> None:
    async with served() as server, prometheus(program, tmp_path, server.admin_port) as asked:
        await server.opened()
        async with running(_publish_to(server, {"user": "nobody"})):
            await asked.until(lambda firing: "DeliveriesStopped" in firing)
        async with running(_publish_to(server, {"user": "u1"})):
            await asked.until(lambda firing: "DeliveriesStopped" not in firing)


async def _publish_to(server: Target, to: object) -> None:
    while True:
        await publish(server, to)


@pytest.mark.gen_test(timeout=300)
async def test_a_worker_that_hangs(program: str, tmp_path: Path) -> None:
    # A worker is given a second to answer: a scrape must be allowed to take longer.
    async with crew() as server, prometheus(program, tmp_path, server.admin_port, every=2) as asked:
        await until_ready(server)
        async with _hanging(workers(server)[0]):
            await asked.until(lambda firing: "WorkerDown" in firing)
        await asked.until(lambda firing: "WorkerDown" not in firing)


@pytest.mark.gen_test(timeout=300)
async def test_a_server_that_ends_again_and_again(program: str, tmp_path: Path) -> None:
    port = free_port()
    async with prometheus(program, tmp_path, port) as asked:
        async with running(_restart(port)):
            await asked.until(lambda firing: "Restarting" in firing)
        await asked.until(lambda firing: "Restarting" not in firing)


async def _restart(port: int) -> None:
    while True:
        async with served(admin_port=port):
            await asyncio.sleep(1.2)  # one scrape


@asynccontextmanager
async def _hanging(pid: int) -> AsyncIterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)

"""Faults that operations meet, really injected: each is there while its block runs, and is healed at its end."""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass

from client_support import Client
from nats_support import NatsServer
from ops_load import BROKEN, ask, publish, running
from serve_support import Process

LARGE = "x" * 60_000
"""Data of a message: eighty are more than the kernel takes for a client that does not read."""


@dataclass
class Scene:
    """A server, and the broker that it has."""

    server: Process
    broker: NatsServer


@asynccontextmanager
async def broker_killed(scene: Scene) -> AsyncIterator[None]:
    scene.broker.stop()
    yield
    scene.broker.start()


@asynccontextmanager
async def broker_without_its_data(scene: Scene) -> AsyncIterator[None]:
    """The broker comes back as if it had never been."""
    scene.broker.stop()
    scene.broker.forget()
    scene.broker.start()
    yield


@asynccontextmanager
async def clients_stop_reading(scene: Scene) -> AsyncIterator[None]:
    """Twenty clients that open a stream, take nothing in, and come back when they are closed."""
    async with running(_publish_much(scene.server), *(_read_nothing(scene.server, number) for number in range(20))):
        yield


async def _publish_much(server: Process) -> None:
    while True:
        await publish(server, {"channel": "much"}, LARGE)


async def _read_nothing(server: Process, number: int) -> None:
    while True:
        with suppress(*BROKEN):
            client = await server.connect(f"slow{number}", user="slow", query="?channel=much", receive_buffer=4096)
            await asyncio.sleep(4)
            client.close()
            server.clients.remove(client)
        await asyncio.sleep(0.1)


@asynccontextmanager
async def bad_tokens(server: Process) -> AsyncIterator[None]:
    async with running(*(_knock(server) for _ in range(4))):
        yield


async def _knock(server: Process) -> None:
    while True:
        await ask(server, "/sse/connect/s1", {"Authorization": "Bearer x.y.z"}, user=None)


@asynccontextmanager
async def descriptors_exhausted(scene: Scene) -> AsyncIterator[None]:
    """The limit comes down to what is open, and connections come in that nobody says anything on."""
    pid = scene.server.running.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (60, limits[1]))
    async with running(_fill(scene.server)):
        yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


async def _fill(server: Process) -> None:
    idle: list[Client] = []
    try:
        while True:
            with suppress(*BROKEN):
                idle.append(await Client.to(server.port))
            for client in idle[:-60]:
                client.close()
            idle = idle[-60:]
            await asyncio.sleep(0.05)
    finally:
        for client in idle:
            client.close()


@asynccontextmanager
async def loop_stalled(scene: Scene) -> AsyncIterator[None]:
    """The process gets to run for less than half of the time."""
    try:
        async with running(_stall(scene.server)):
            yield
    finally:
        scene.server.send_signal(signal.SIGCONT)


async def _stall(server: Process) -> None:
    while True:
        server.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.6)
        server.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.4)


@asynccontextmanager
async def process_hangs(scene: Scene) -> AsyncIterator[None]:
    scene.server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        scene.server.send_signal(signal.SIGCONT)


@asynccontextmanager
async def streams_at_the_cap(scene: Scene) -> AsyncIterator[None]:
    """More clients want a stream than the node takes."""
    clients: list[Client] = []
    async with running(_crowd(scene.server, clients)):
        yield
    for client in clients:
        client.close()


async def _crowd(server: Process, clients: list[Client]) -> None:
    number = 0
    while True:
        number += 1
        with suppress(*BROKEN):
            clients.append(await server.connect(f"crowd{number}", user=f"crowd{number}"))
        await asyncio.sleep(0.05)


@asynccontextmanager
async def clients_away_for_too_long(scene: Scene) -> AsyncIterator[None]:
    """Clients come back again and again from before what history holds."""
    async with running(*(_late(scene.server, number) for number in range(4))):
        yield


async def _late(server: Process, number: int) -> None:
    with closing(await server.connect(f"late{number}", user="late", query="?channel=late")) as first:
        position = (await first.next_block()).id or ""
    for _ in range(5):
        await publish(server, {"channel": "late"})
    while True:
        with suppress(*BROKEN):
            headers = {"Last-Event-ID": position}
            with closing(await server.connect(f"late{number}", user="late", query="?channel=late", headers=headers)):
                await asyncio.sleep(0.3)

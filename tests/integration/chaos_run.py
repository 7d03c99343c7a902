"""A chaos run: the plan is carried out on a cluster under load, and told."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from chaos_client import Run
from chaos_cluster import Cluster, cluster
from chaos_node import FAULTY, SOUND
from chaos_plan import NODE_LANE, SERVER_LANE, Blow, Step, cycles
from chaos_play import Outcome, play

CALM = 12.0
"""Seconds of a run in which nothing befalls anybody."""


@dataclass(frozen=True)
class Size:
    """How much of it.

    `seconds` of blows, each kind at least once (0: none at all), with a `pause` before each of so many at most; `rate`
    in messages a second; `drain` is how many seconds a node takes to let its streams go.
    """

    seconds: float
    pause: float
    clients: int
    rate: float
    drain: float


LONG = Size(seconds=150, pause=8, clients=500, rate=60, drain=8)
SHORT = Size(seconds=10, pause=2, clients=100, rate=100, drain=1.5)
STILL = Size(seconds=0, pause=0, clients=60, rate=300, drain=0)


@dataclass
class Chaos:
    """What befalls a cluster. `log` tells it, with the times of the run."""

    cluster: Cluster
    run: Run
    size: Size
    log: list[str] = field(default_factory=list)

    async def fall(self, seed: str) -> None:
        """Let the blows of both lanes fall."""
        if self.size.seconds == 0:
            await asyncio.sleep(CALM)
            return
        async with asyncio.TaskGroup() as lanes:
            for lane in (NODE_LANE, SERVER_LANE):
                lanes.create_task(self._lane(seed, lane))
        self.log.sort()

    async def _lane(self, seed: str, lane: tuple[Blow, ...]) -> None:
        until = self.run.now() + self.size.seconds
        for cycle in cycles(seed, lane, self.size.pause):
            for step in cycle:
                await asyncio.sleep(step.pause)
                at = self.run.now()
                what = await self._strike(step)
                self.log.append(f"{at:7.2f} s  {step.blow} {what}; whole at {self.run.now():.2f} s")
            if self.run.now() >= until:
                return

    async def _strike(self, step: Step) -> str:
        """Strike a blow, and wait until all is well again. Return what it hit."""
        cluster, member, hold = self.cluster, step.member, step.hold
        match step.blow:
            case Blow.KILL_NODE:
                await cluster.nodes[member].kill(hold)
            case Blow.STALL:
                await cluster.stall(member, hold)
            case Blow.ROLL:
                times = [await node.roll() for node in cluster.nodes[member:] + cluster.nodes[:member]]
                return f"{member}, gone after {', '.join(f'{seconds:.2f}' for seconds in times)} s"
            case Blow.KILL_LEADER:
                server = await cluster.leader()
                await cluster.kill_server(server, hold)
                return f"{server.name} for {hold:.2f} s"
            case Blow.KILL_SERVER:
                await cluster.kill_server(cluster.servers[member], hold)
        return f"{member} for {hold:.2f} s"


async def chaos(seed: str, size: Size, folder: Path, *, faulty: bool = False) -> tuple[Outcome, list[str]]:
    """Do a run in the folder. Return what came of it, and what befell the cluster."""
    code = FAULTY if faulty else SOUND
    async with cluster(folder, nodes=3, settings={"drain_time": size.drain, "broker_probe": 1}, code=code) as running:
        run = Run(running.port, asyncio.get_running_loop().time())
        storm = Chaos(running, run, size)
        outcome = await play(
            running, run, seed=seed, clients=size.clients, rate=size.rate, storm=lambda: storm.fall(seed)
        )
        return outcome, storm.log

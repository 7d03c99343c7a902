"""A soak: many clients come and go for long, messages go to all kinds of topics, and nothing may grow or get lost."""

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

import httpx

import kernel
from chaos_client import Run
from chaos_history import Sent
from chaos_node import ChaosNode
from chaos_play import PUBLISHERS, publish_during
from chaos_publisher import Publisher
from outage_support import until
from soak_crowd import Crowd
from soak_verdict import KEPT, Sample, Soak
from soak_visitors import Seen, Share

LEAVING = 0.05
"""Share of the clients that leave in a second."""

SETTINGS = {
    "history_ttl": KEPT,
    "idempotency_window": KEPT,
    "retry": 0.5,
    "max_streams_per_user": 0,
    "log_level": "warning",
}
LOOK_EVERY = 1.0
AGAIN = 0.2
PATIENCE = 20.0
"""Seconds that an answer may take."""

COUNTED = (
    r"^tornado_sse_((?:streams|messages|resumes|gaps|connects|auth|accept)\w*_total(?:{(?!.*duplicate).*})?) (.*)$"
)
"""Counters whose values follow from what clients saw: not so the duplicates of publishers that were answered late."""

HERE = Path(__file__).parent
SOUND, LEAKY = ((str(HERE / name),) for name in ("soak_server.py", "soak_leaky.py"))


@dataclass(frozen=True)
class Size:
    """How much of it: `rate` in messages a second, clients spread over so many processes, new ones at `pace` a second.

    Memory is judged where there is time for it, in runs of three times KEPT and more. `patience` is how many seconds
    the server has at the end to let go of what it held: clients have ten to send a request.
    """

    clients: int
    seconds: float
    rate: float
    processes: int
    pace: float
    patience: float = 20.0


SHORT = Size(clients=300, seconds=1.5, rate=60, processes=1, pace=800)
LONG = Size(clients=15_000, seconds=1800, rate=2, processes=4, pace=800)
MIDDLE = replace(LONG, seconds=300)


@dataclass
class Watch:
    """Looks at the server, again and again."""

    node: ChaosNode
    run: Run
    samples: list[Sample] = field(default_factory=list)

    def look(self) -> None:
        """Take a sample."""
        pid = self.node.pid
        self.samples.append(Sample(self.run.now(), kernel.pss(pid), kernel.cpu(pid), _descriptors(pid)))

    async def during(self, seconds: float) -> None:
        """Take samples for so many seconds."""
        end = self.run.now() + seconds
        while (left := end - self.run.now()) > 0:
            self.look()
            await asyncio.sleep(min(LOOK_EVERY, left))
        self.look()

    async def holdings(self) -> Counter[str]:
        """Ask what it holds, descriptors included."""
        told = len(self._told())
        os.kill(self.node.pid, signal.SIGUSR1)
        await until(lambda: len(self._told()) > told, PATIENCE)
        return Counter(self._told()[-1]) + Counter(descriptors=_descriptors(self.node.pid))

    async def quiet(self) -> Counter[str]:
        """Wait until nobody is connected; return what it holds then."""
        while (held := await self.holdings())["connections"]:
            await asyncio.sleep(AGAIN)
        return held

    async def settled(self, before: Counter[str], patience: float) -> Counter[str]:
        """Wait until it holds what it held before; return what it holds after so many seconds at most."""
        end = self.run.now() + patience
        while (held := await self.holdings()) != before and self.run.now() < end:
            await asyncio.sleep(AGAIN)
        return held

    def _told(self) -> list[dict[str, int]]:
        lines = [json.loads(line) for line in self.node.log.read_text().splitlines() if '"holdings"' in line]
        return [line["held"] for line in lines]


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def _counted(node: ChaosNode) -> Counter[str]:
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"http://127.0.0.1:{node.admin_port}/metrics", timeout=PATIENCE)).text
    return +Counter({name: int(float(value)) for name, value in re.findall(COUNTED, text, re.MULTILINE)})


async def soak(seed: str, size: Size, folder: Path, code: Sequence[str] = SOUND) -> Soak:
    """Do it, in the folder."""
    async with _watched(ChaosNode("node", folder / "node.log", SETTINGS, code)) as node:
        watch = Watch(node, Run(node.port, monotonic()))
        before = await watch.quiet()
        crowds = [Crowd(share) for share in _shares(seed, size, node.port)]
        try:
            sent, seen = await _play(seed, size, watch, crowds)
        finally:
            for crowd in crowds:
                crowd.close()
        held = await watch.settled(before, size.patience)
        return Soak(sent, seen, await _counted(node), before, held, watch.samples, [*map(json.dumps, node.problems())])


def _shares(seed: str, size: Size, port: int) -> Iterator[Share]:
    count = size.processes
    for first in range(count):
        yield Share(port, seed, first, count, size.clients, LEAVING * size.clients / count, size.pace / count)


async def _play(seed: str, size: Size, watch: Watch, crowds: Sequence[Crowd]) -> tuple[list[Sent], Seen]:
    for crowd in crowds:
        await crowd.opened()
    watch.run.began = monotonic()
    for crowd in crowds:
        crowd.stir()
    publishers = [Publisher(number, size.clients, seed, watch.run) for number in range(PUBLISHERS)]
    await publish_during(lambda: watch.during(size.seconds), publishers, size.rate)
    for crowd in crowds:
        crowd.calm()
    last = await publishers[0].finish()
    sent = [one for publisher in publishers for one in publisher.sent]
    seen = Seen(figures=watch.run.figures)
    for one in await asyncio.gather(*(crowd.judged(sent, last) for crowd in crowds)):
        seen.add(one)
    return sent, seen


@asynccontextmanager
async def _watched(node: ChaosNode) -> AsyncIterator[ChaosNode]:
    watcher = asyncio.create_task(node.watch())
    try:
        await node.ready()
        yield node
    finally:
        watcher.cancel()
        await asyncio.wait([watcher])

"""A rolling deploy: each of two nodes behind nginx is restarted in turn, while clients listen and messages go."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from chaos_client import Run
from chaos_cluster import Cluster, cluster, redis_cluster
from chaos_history import Account, Opened
from chaos_play import Outcome, play

RETRY = 2.0
"""Mean seconds until a client reconnects, as nodes say it: the server's default."""

SETTLE = 4.0
"""Seconds between two restarts, and before the first: longer than any client waits."""

PEAK = 3.0
"""How many times the mean the reconnects of a second may be."""


@dataclass(frozen=True)
class Size:
    """How much of it: `rate` in messages a second, `drain` in seconds."""

    clients: int
    rate: float
    drain: float


ENGINES: dict[str, Callable[..., AbstractAsyncContextManager[Cluster]]] = {
    "nats": partial(cluster, stalling=False),
    "redis": redis_cluster,
}
"""What the nodes share."""

LONG = Size(clients=5000, rate=6, drain=60)
SHORT = Size(clients=200, rate=60, drain=12)


@dataclass(frozen=True)
class Restart:
    """A node's restart: SIGTERM `at` seconds of the run, the process `gone` after so many, and ready again."""

    node: str
    at: float
    gone: float
    ready: float


@dataclass(frozen=True)
class Spread:
    """How reconnects spread over a drain: the `mean` and the `peak` of a second."""

    reconnects: int
    mean: float
    peak: int


@dataclass
class Rolling:
    """What came of it."""

    outcome: Outcome
    drain: float
    restarts: list[Restart] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether all went as it should."""
        return self.outcome.passed and all(self._is_good(restart) for restart in self.restarts)

    def summary(self) -> Iterator[str]:
        """Tell it."""
        for restart in self.restarts:
            found = self.spread(restart)
            yield (
                f"{restart.at:6.2f} s  SIGTERM {restart.node}: gone after {restart.gone:.2f} s of {self.drain:g}, "
                f"ready again after {restart.ready:.2f}; {found.reconnects} connects, {found.mean:.1f} a second, "
                f"at most {found.peak}{'' if self._is_good(restart) else ': NOT GOOD'}"
            )
        yield from self.outcome.summary()
        yield f"the deploy as a whole: {'PASSED' if self.passed else 'FAILED'}"

    def spread(self, restart: Restart) -> Spread:
        """Count the connects that the restart made."""
        return spread(opened(self.outcome.accounts), restart.at, self.drain)

    def _is_good(self, restart: Restart) -> bool:
        found = self.spread(restart)
        return restart.gone < self.drain and found.peak <= PEAK * found.mean


def opened(accounts: Iterable[Account]) -> Iterator[float]:
    """Give the times of all connects."""
    return (event.at for account in accounts for event in account.events if isinstance(event, Opened))


def spread(connects: Iterable[float], at: float, drain: float) -> Spread:
    """Count connects by the second, from a SIGTERM until all have come back; the mean is over the drain time."""
    end = at + drain + 1.5 * RETRY
    seconds = Counter(int(connect - at) for connect in connects if at <= connect < end)
    return Spread(seconds.total(), seconds.total() / drain, max(seconds.values(), default=0))


async def _restart(nodes: Cluster, run: Run, restarts: list[Restart]) -> None:
    for node in nodes.nodes:
        await asyncio.sleep(SETTLE)
        at = run.now()
        gone = await node.roll()
        restarts.append(Restart(node.name, at, gone, run.now() - at))
    await asyncio.sleep(SETTLE)


async def rolling(seed: str, size: Size, folder: Path, engine: str = "nats") -> Rolling:
    """Do it, in the folder, on one of ENGINES."""
    settings = {"drain_time": size.drain, "retry": RETRY, "keepalive": 15}
    restarts: list[Restart] = []
    async with ENGINES[engine](folder, nodes=2, settings=settings) as running:
        run = Run(running.port, asyncio.get_running_loop().time())
        outcome = await play(
            running,
            run,
            seed=seed,
            clients=size.clients,
            rate=size.rate,
            storm=lambda: _restart(running, run, restarts),
        )
    return Rolling(outcome, size.drain, restarts)

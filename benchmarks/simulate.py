"""Two small models of a hub of many nodes: clients that come back after a loss, and messages to all on their way.

Pure, seeded, of the standard library alone: the same arguments give the same answer. Times are in seconds.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Storm:
    """`clients` lost their node and come back to `nodes` others, each to one by chance.

    A client waits `retry` on average, half to one and a half of it evenly. A node opens `rate` streams a second and
    lets `backlog` wait; what comes beyond is not heard, and TCP tries again after 1, 2, 4 ... seconds (RFC 6298).
    """

    clients: int
    nodes: int
    rate: float
    backlog: int
    retry: float
    seed: int = 1


@dataclass(frozen=True)
class Return:
    """`back`: clients that have a stream again, `half` and `last`: when; `unheard`: attempts; `queue`: the longest."""

    back: int
    half: float
    last: float
    unheard: int
    queue: int


def storm(case: Storm) -> Return:
    """Play a storm to its end."""
    chance = random.Random(case.seed)  # noqa: S311 - a model, no secret
    attempts = [(case.retry * chance.uniform(0.5, 1.5), chance.randrange(case.nodes), 0) for _ in range(case.clients)]
    heapq.heapify(attempts)
    free = [0.0] * case.nodes  # when each node is through with what waits
    back: list[float] = []
    unheard = longest = 0
    while attempts:
        now, node, tries = heapq.heappop(attempts)
        waiting = max(0.0, free[node] - now) * case.rate
        if waiting >= case.backlog:
            unheard += 1
            heapq.heappush(attempts, (now + 2**tries, node, tries + 1))
            continue
        longest = max(longest, round(waiting))
        free[node] = max(now, free[node]) + 1 / case.rate
        back.append(free[node])
    return Return(len(back), median(back), max(back), unheard, longest)


@dataclass(frozen=True)
class Fanout:
    """Messages to all, `interval` apart, through an engine to `workers` that have `streams` each.

    The engine hands a message to one worker after another, `copy` each. A worker writes to its streams one after
    another, `delivery` each, give or take the share `jitter`; what came meanwhile leaves together in the next round.
    """

    workers: int
    streams: int
    copy: float
    delivery: float
    interval: float = 1.0
    messages: int = 1
    jitter: float = 0.0
    seed: int = 1


@dataclass(frozen=True)
class Spread:
    """`deliveries`, and when the median and the last of them came after publishing."""

    deliveries: int
    median: float
    last: float


def fanout(case: Fanout) -> Spread:
    """Send the messages."""
    chance = random.Random(case.seed)  # noqa: S311 - a model, no secret
    arrivals = list(_through_engine(case))
    rounds = [latency for worker in range(case.workers) for latency in _rounds(case, arrivals, worker, chance)]
    middles = [(began + ended) / 2 for began, ended in rounds]
    return Spread(len(rounds) * case.streams, median(middles), max(ended for _, ended in rounds))


def _through_engine(case: Fanout) -> Iterator[tuple[float, float]]:
    """Tell of each message when it was published, and when the engine begins to hand it out."""
    free = 0.0
    for number in range(case.messages):
        published = number * case.interval
        begins = max(published, free)
        free = begins + case.workers * case.copy
        yield published, begins


def _rounds(
    case: Fanout, arrivals: list[tuple[float, float]], worker: int, chance: random.Random
) -> Iterator[tuple[float, float]]:
    """Tell of each message when this worker's first and last stream had it, after it was published."""
    free, waiting = 0.0, [(published, begins + (worker + 1) * case.copy) for published, begins in arrivals]
    while waiting:
        start = max(free, waiting[0][1])
        free = start + case.streams * case.delivery * chance.uniform(1 - case.jitter, 1 + case.jitter)
        together = [published for published, arrived in waiting if arrived <= start]
        waiting = waiting[len(together) :]
        yield from ((start - published, free - published) for published in together)

"""What befalls a cluster, drawn from a seed: two lanes of blows at once, one against the nodes, one against NATS. Pure.

Within a lane one blow is over, and what it hit is whole again, before the next one falls: NATS keeps a majority, and
some node is always there. Each kind falls once before any falls again.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from resume_load import seeded

MEMBERS = 3
"""Nodes, and NATS servers."""


class Blow(StrEnum):
    """What befalls it."""

    KILL_NODE = "SIGKILL node"
    STALL = "stall the links of node"
    ROLL = "SIGTERM all nodes in turn, beginning with node"
    KILL_LEADER = "SIGKILL the stream's leader"
    KILL_SERVER = "SIGKILL NATS server"


NODE_LANE = (Blow.KILL_NODE, Blow.STALL, Blow.ROLL)
SERVER_LANE = (Blow.KILL_LEADER, Blow.KILL_SERVER)


class Step(NamedTuple):
    """After `pause` seconds the blow falls on the member, and is undone `hold` seconds later."""

    pause: float
    blow: Blow
    member: int
    hold: float


def cycles(seed: str, lane: tuple[Blow, ...], pause: float) -> Iterator[list[Step]]:
    """Draw steps without end, in cycles that have each blow of the lane once; `pause` is the longest."""
    rng = seeded(seed, *lane)
    while True:
        yield [
            Step(rng.uniform(0.3, pause), blow, rng.randrange(MEMBERS), rng.uniform(0.5, 3))
            for blow in rng.sample(lane, len(lane))
        ]

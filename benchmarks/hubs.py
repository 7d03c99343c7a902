"""Hubs of many nodes: how large, and what their engines carry."""

from dataclasses import dataclass
from math import ceil

from units import Units

NODE = 100_000
"""Streams of a node when it has most: what was measured."""

WORKERS = 6
"""Workers of a node, each on a core of its own; two more cores are for the kernel."""

ZONES = 3
"""Places of nodes, one of which may be lost."""

ENGINE_CORES = 4
"""Cores of an engine server."""

BACKLOG = WORKERS * 4096
"""Connections that wait in a node's kernel: `somaxconn`, for each worker."""


@dataclass(frozen=True)
class Hub:
    """So many streams on one engine of `servers`; `hubs` such hubs are the whole."""

    name: str
    streams: int
    servers: int = 3
    hubs: int = 1

    @property
    def nodes(self) -> int:
        """With a third to spare, so that the nodes of two zones can carry all."""
        return ceil(self.streams / NODE * ZONES / (ZONES - 1))

    @property
    def workers(self) -> int:
        return self.nodes * WORKERS


HUBS = (
    Hub("100,000", 100_000),
    Hub("1 million", 1_000_000),
    Hub("10 million in 10 hubs", 1_000_000, hubs=10),
    Hub("10 million in one hub", 10_000_000, servers=5),
)


def interest(units: Units, hub: Hub) -> float:
    """Bytes at each engine server: its own clients' interest, and what it knows of the others'."""
    own = hub.streams / hub.servers
    return own * units.own_interest + (hub.streams - own) * units.other_interest


def learning(units: Units, hub: Hub) -> float:
    own = hub.streams / hub.servers
    return own * units.interest_cpu + (hub.streams - own) * units.other_cpu


def rate(units: Units, hub: Hub, nodes: int) -> float:
    """Resumes a second of a node: its workers' cores, or its part of the engine's, whichever is less."""
    return min(WORKERS / units.resume, hub.servers * ENGINE_CORES / units.engine_resume / nodes)

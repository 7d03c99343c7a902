"""What one of each costs: read from the figures that scale.py and engine.py measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

KIB = 1024


@dataclass(frozen=True)
class Units:
    """Bytes, and seconds of one core."""

    worker: float
    """Bytes of a worker without streams."""
    stream: float
    """Bytes of a stream in its worker."""
    kernel: float
    """Bytes of the kernel for the server's end of a connection."""
    own_interest: float
    """Bytes of a subscription at the NATS server that has it."""
    other_interest: float
    """Bytes of it at each other server of the cluster."""
    interest_cpu: float
    """Seconds for it at the server that has it."""
    other_cpu: float
    """Seconds for it at each other."""
    subject: float
    """Bytes of a subject with one message at a NATS server that keeps it."""
    stored: float
    """Bytes of a message of 128 in the stream's files."""
    publish_cpu: float
    """Seconds of three servers together for an acknowledged message."""
    publishes: float
    """Acknowledged messages a second, three replicas."""
    copy: float
    """Seconds until a NATS server has handed a message to one more worker."""
    connect: float
    """Seconds of a worker for a connect."""
    resume: float
    """Seconds of a worker for a resume."""
    engine_resume: float
    """Seconds of a NATS server for a resume."""
    delivery: float
    """Seconds of a worker for a delivery of a message to all."""
    delivered: float
    """Bytes of such a delivery, 128 of them data."""
    quiet: float
    """Share of a core for a stream that only gets keepalives, of its worker."""


def measured(results: Path) -> Units:
    """Read scale.json and engine.json."""
    scale = json.loads((results / "scale.json").read_text())
    engine = json.loads((results / "engine.json").read_text())
    return from_figures(scale, engine)


def from_figures(scale: Mapping[str, Any], engine: Mapping[str, Any]) -> Units:
    empty, full, streams = scale["memory_empty"], scale["memory_idle"], scale["streams"]
    interest, many = engine["interest"], engine["500 nodes"]
    kept = engine["publishes, 3 replicas"]

    def cpu(phase: str, part: str = "workers") -> float:
        return float(scale[phase]["cpu_us"][part]) / 1e6

    return Units(
        worker=mean(empty["workers"]) * KIB,
        stream=(sum(full["workers"]) - sum(empty["workers"])) * KIB / streams,
        kernel=(full["slab"] - empty["slab"]) * KIB / streams / 2,
        own_interest=interest["bytes"][0],
        other_interest=interest["bytes"][1],
        interest_cpu=interest["cpu_us"][0] / 1e6,
        other_cpu=interest["cpu_us"][1] / 1e6,
        subject=kept["bytes_a_subject"],
        stored=kept["bytes_stored"],
        publish_cpu=kept["cpu_us"] / 1e6,
        publishes=kept["per_second"],
        copy=many["last_ms"] / many["nodes"] / 1000,
        connect=cpu("connect"),
        resume=cpu("resume"),
        engine_resume=cpu("resume", "nats-server"),
        delivery=cpu("fanout"),
        delivered=scale["fanout"]["bytes_a_delivery"],
        quiet=scale["idle"]["cpu_share"]["workers"] / streams,
    )


def kib(size: float) -> str:
    return f"{size / 1024:.1f} KiB"


def gib(size: float) -> str:
    return f"{size / (1 << 30):.1f} GiB"


def us(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"


def thousands(count: float) -> str:
    return f"{round(count, -3):,.0f}"

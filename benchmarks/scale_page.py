"""The figures of the scale run: as JSON, and as a page."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from results import machine, number
from rows import Row, table

MIB = 1024

Figures = dict[str, Any]


def save(folder: Path, figures: Figures) -> None:
    """Write scale.json and scale.md."""
    folder.mkdir(exist_ok=True)
    found = {"measured": time.strftime("%Y-%m-%d"), "machine": machine(), **figures}
    (folder / "scale.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "scale.md").write_text(page(found))


def page(found: Figures) -> str:
    where = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    return "\n".join(
        [
            f"# {found['streams']:,} streams on one machine\n",
            f"Through {found['workers']} workers and the engine they bring along, from {found['loads']} load",
            "generators that share the machine's cores with them, and with whatever else ran: its load average was",
            f"{found['load_before']:.1f} before the run began.\n",
            table(_moments(found)),
            table(_costs(found)),
            table(_memory(found)),
            table(_counted(found)),
            f"{found['measured']}, {where}\n",
        ]
    )


def _moments(found: Figures) -> Iterator[Row]:
    fanout, users, faults = found["fanout"], found["users"], found["faults"]
    quiet, busy = users["quiet_ms"], users["busy_ms"]
    yield "what", "figure"
    yield "streams opened a second, each with a token of its own", number(found["connect"]["per_second"])
    yield "largest worker, all open, MiB", number(max(found["memory_idle"]["workers"]) / MIB)
    yield "streams of each worker", ", ".join(map(str, found["streams_of_workers"]["open"]))
    yield (
        f"a message to all, ms: first, median, p99 (medians of {fanout['messages']})",
        _ms(fanout["first_ms"], fanout["median_ms"], fanout["p99_ms"]),
    )
    last = fanout["last_ms"]
    yield "until the last stream has it, ms: median, longest", _ms(median(last), max(last))
    yield f"a user's message in quiet, ms: median, p99 ({quiet['count']})", _ms(quiet["p50"], quiet["p99"])
    yield "a user's message in the middle of one to all, ms: median, p99", _ms(busy["p50"], busy["p99"])
    yield "streams resumed a second, each with a message missed, 128 at a time", number(found["resume"]["per_second"])
    yield "the same, all at once", number(found["storm"]["per_second"])
    yield (
        "sent away and back again: of those, of the storm",
        _ms(found["resume"]["came_again"], found["storm"]["came_again"]),
    )
    yield "messages missing, twice or out of order, and streams that ended", number(faults["count"])


def _ms(*times: float) -> str:
    return ", ".join(map(number, times))


def _counted(found: Figures) -> Iterator[Row]:
    """What workers counted, and what their logs say above `info`."""
    yield "counted by the workers, and said in their logs", "times"
    counts = {name: count for name, count in found["faults"].items() if name not in ("count", "log")}
    yield from ((name, number(count)) for name, count in (counts | found["faults"]["log"]).items())


def _costs(found: Figures) -> Iterator[Row]:
    parts = ("workers", "nats-server", "load")
    yield "CPU time, µs", *parts
    for name, phase in (("a connect", "connect"), ("a delivery of a message to all", "fanout"), ("a resume", "resume")):
        yield name, *(number(found[phase]["cpu_us"].get(part, 0)) for part in parts)
    shares = found["idle"]["cpu_share"]
    yield (
        "a stream and second in quiet, keepalives",
        *(number(shares.get(part, 0) / found["streams"] * 1e6) for part in parts),
    )


def _memory(found: Figures) -> Iterator[Row]:
    moments = {
        "empty": "memory_empty",
        "all open": "memory_idle",
        "after the messages": "memory_after_messages",
        "after all left and came back": "memory_after_resume",
    }
    yield "memory, MiB", *moments, "KiB a stream"
    for part, get in PARTS.items():
        values = [get(found[phase]) for phase in moments.values()]
        each = (values[1] - values[0]) / found["streams"]
        yield part, *(number(value / MIB) for value in values), number(each)


PARTS = {
    "workers, PSS": lambda at: sum(at["workers"]),
    "supervisor, PSS": lambda at: sum(at["supervisor"]),
    "nats-server, PSS": lambda at: sum(at["nats-server"]),
    "load generators, PSS": lambda at: at["load"],
    "kernel objects (Slab), both ends": lambda at: at["slab"],
    "socket buffers (sockstat), both ends": lambda at: at["tcp_mem"],
}

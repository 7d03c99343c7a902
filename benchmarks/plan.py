"""From measured units to a million streams and ten: the tables of docs/scale.md, printed, or put there with --write."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from hubs import BACKLOG, HUBS, NODE, WORKERS, ZONES, interest, learning, rate
from limits import limits
from rows import Row, table
from simulate import Fanout, Storm, fanout, storm
from units import Units, gib, kib, measured, thousands, us

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "scale.md"

WIRE = 90
"""Bytes around a packet: Ethernet with what is between two frames 38, IPv4 20, TCP with timestamps 32."""

PLAYED = 2
"""Nodes that a storm is played for: all are alike."""

GIGA = 1e9


def tables(units: Units) -> str:
    """Return all tables as Markdown."""
    return "\n".join(
        [
            table(_units(units)),
            table(_sizes(units)),
            table(_fanouts(units)),
            table(_storms(units)),
            table(limits(units)),
        ]
    )


def _units(units: Units) -> Iterator[Row]:
    yield "one", "costs"
    yield "worker without streams", f"{units.worker / (1 << 20):.0f} MiB"
    yield "stream, in its worker; in the kernel", f"{kib(units.stream)}; {kib(units.kernel)}"
    yield (
        "user's subscription, at its NATS server; at each other",
        f"{kib(units.own_interest)}; {kib(units.other_interest)}",
    )
    yield "the same, CPU", f"{us(units.interest_cpu)}; {us(units.other_cpu)}"
    yield "subject with one message, at each server that keeps it", kib(units.subject)
    yield "message published, acknowledged, three replicas", f"{us(units.publish_cpu)} of all three"
    yield "copy of a message for one more worker, at the NATS server", us(units.copy)
    yield "connect, CPU of the worker", us(units.connect)
    yield "resume, CPU of the worker; of NATS", f"{us(units.resume)}; {us(units.engine_resume)}"
    yield "delivery of a message to all, CPU of the worker", us(units.delivery)
    yield "the same, bytes; with what surrounds a packet", f"{units.delivered:.0f}; {units.delivered + WIRE:.0f}"


def _sizes(units: Units) -> Iterator[Row]:
    yield "streams", *(hub.name for hub in HUBS)
    lines = {
        "nodes, one of three zones to spare": lambda hub: f"{hub.nodes * hub.hubs:,}",
        "workers: connections to an engine": lambda hub: f"{hub.workers:,}",
        "memory of a full node": lambda _: gib(WORKERS * units.worker + NODE * (units.stream + units.kernel)),
        "engine servers": lambda hub: f"{hub.servers * hub.hubs}",
        "memory of each for interest": lambda hub: gib(interest(units, hub)),
        "and for a message to every user, kept": lambda hub: gib(hub.streams * units.subject),
        "CPU of each to learn all interest anew": lambda hub: f"{learning(units, hub):.0f} s",
        "messages published a second, all hubs": lambda hub: f"{thousands(units.publishes * hub.hubs)}",
        "all: bytes out of the engine": lambda hub: f"{hub.workers * units.delivered * hub.hubs / 1024:,.0f} KiB",
        "all: bytes out of the nodes": lambda hub: _gbit(units, hub.streams * hub.hubs),
        "all: bytes out of a full node": lambda _: _gbit(units, NODE),
    }
    for name, value in lines.items():
        yield name, *(value(hub) for hub in HUBS)


def _fanouts(units: Units) -> Iterator[Row]:
    yield "messages to all", "workers", "streams of each", "median", "last", "last, by hand"
    cases = [(hub.name, hub.workers, hub.streams // hub.workers, 1, 1.0) for hub in HUBS]
    cases += [
        (f"1 million, {rate} a second", HUBS[1].workers, HUBS[1].streams // HUBS[1].workers, 10 * rate, 1 / rate)
        for rate in (2, 10)
    ]
    for name, workers, streams, messages, interval in cases:
        case = Fanout(workers, streams, units.copy, units.delivery, interval, messages, jitter=0.2)
        found = fanout(case)
        by_hand = workers * units.copy + streams * units.delivery
        cells = (f"{found.median * 1000:.0f} ms", f"{found.last * 1000:.0f} ms")
        yield name, f"{workers:,}", f"{streams:,}", *cells, f"{by_hand * 1000:.0f} ms" if messages == 1 else ""


def _storms(units: Units) -> Iterator[Row]:
    yield "who is back, of a hub of a million", "`--retry`", "half are", "all are", "by hand", "unheard", "most wait"
    hub = HUBS[1]
    losses = {
        "a node": (hub.streams // hub.nodes, hub.nodes - 1),
        "a zone": (hub.streams // ZONES, hub.nodes * (ZONES - 1) // ZONES),
        "all, through new proxies": (hub.streams, hub.nodes),
    }
    for name, (clients, nodes) in losses.items():
        for retry in (2, 10, 30):
            case = Storm(clients * PLAYED // nodes, PLAYED, rate(units, hub, nodes), BACKLOG, retry)
            found = storm(case)
            by_hand = max(1.5 * retry, 0.5 * retry + clients / nodes / case.rate)
            yield (
                f"{name}: {clients:,} to {nodes} nodes",
                f"{retry} s",
                *(f"{seconds:.1f} s" for seconds in (found.half, found.last, by_hand)),
                f"{found.unheard * nodes // PLAYED:,}",
                f"{found.queue:,}",
            )


def _gbit(units: Units, streams: int) -> str:
    return f"{streams * (units.delivered + WIRE) * 8 / GIGA:.1f} Gbit"


def filled(page: str, units: Units) -> str:
    """Return the page with its tables as they are now."""
    mark = "<!-- tables: made by benchmarks/plan.py -->"
    return re.sub(f"{mark}.*<!-- end -->", lambda _: f"{mark}\n\n{tables(units)}\n<!-- end -->", page, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put them into docs/scale.md")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder with scale.json and engine.json")
    options = parser.parse_args()
    units = measured(options.results)
    if options.write:
        PAGE.write_text(filled(PAGE.read_text(), units))
    else:
        print(tables(units))


if __name__ == "__main__":
    main()

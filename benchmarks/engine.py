"""What a NATS server pays for subscriptions, subjects, publishes and nodes; scale.py's figures say it for one host."""

import argparse
import json
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from programs import HERE
from results import machine
from tornado_sse.brokers.nats.layout import Layout, new_epoch
from wire import NatsServers, Wire, message

Figures = dict[str, Any]
STREAM = Layout("sse", size=1000, ttl=300, max_bytes=1 << 30, window=120)
BATCH = 500
PAYLOAD = b"x" * 128


def interest(folder: Path, count: int) -> Figures:
    """Subscribe to so many users at one server of two: what both pay, and when the other knows."""
    with NatsServers(folder, 2) as servers, closing(Wire(servers.ports[0])) as wire:
        pss, cpu = servers.pss(), servers.cpu()
        began = time.monotonic()
        wire.subscribe(*(f"sse.live.user.u{number}.>" for number in range(count)))
        here = time.monotonic() - began
        while servers.known_by_routes(1) < count:
            time.sleep(0.01)
        there = time.monotonic() - began
        pss = [(after - before) * 1024 / count for before, after in zip(pss, servers.pss(), strict=True)]
        cpu = [(after - before) * 1e6 / count for before, after in zip(cpu, servers.cpu(), strict=True)]
    return {"count": count, "bytes": pss, "cpu_us": cpu, "seconds_here": here, "seconds_there": there}


def publishes(folder: Path, servers: int, count: int) -> Figures:
    """Publish a message to each of so many users, acknowledged, 500 on their way at a time."""
    layout = Layout(STREAM.name, STREAM.size, STREAM.ttl, STREAM.max_bytes, STREAM.window, replicas=servers)
    with NatsServers(folder, servers) as nats, closing(Wire(nats.ports[0])) as wire:
        make_stream(wire, layout)
        wire.subscribe("_INBOX.acks")
        pss, cpu, began = sum(nats.pss()), sum(nats.cpu()), time.monotonic()
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            wire.send(b"".join(message(f"sse.m.user.u{number}.all", PAYLOAD, "_INBOX.acks") for number in numbers))
            wire.until(b'"seq"', len(numbers))
        seconds = time.monotonic() - began
        return {
            "count": count,
            "replicas": servers,
            "per_second": count / seconds,
            "cpu_us": (sum(nats.cpu()) - cpu) * 1e6 / count,
            "bytes_stored": wire.ask(f"$JS.API.STREAM.INFO.{layout.name}", {})["state"]["bytes"] / count,
            "bytes_a_subject": (sum(nats.pss()) - pss) * 1024 / count / servers,
        }


def make_stream(wire: Wire, layout: Layout) -> None:
    deadline = time.monotonic() + 20
    while "error" in (answer := wire.ask(f"$JS.API.STREAM.CREATE.{layout.name}", layout.config(new_epoch()))):
        if time.monotonic() > deadline:
            raise SystemExit(f"no stream: {answer['error']}")
        time.sleep(0.2)


def nodes(folder: Path, count: int, rounds: int) -> Figures:
    """Publish one message at a time that so many nodes listen to: until the last one has it."""
    with ExitStack() as stack:
        nats = stack.enter_context(NatsServers(folder, 1))
        wires = [stack.enter_context(closing(Wire(nats.ports[0]))) for _ in range(count)]
        make_stream(wires[0], STREAM)
        for wire in wires:
            wire.subscribe("sse.live.all")
        cpu, times = sum(nats.cpu()), []
        for _ in range(rounds):
            began = time.monotonic()
            wires[0].send(message("sse.m.all", PAYLOAD))
            for wire in wires:
                wire.until(PAYLOAD)
            times.append((time.monotonic() - began) * 1000)
        return {"nodes": count, "last_ms": sorted(times)[rounds // 2], "cpu_us": (sum(nats.cpu()) - cpu) * 1e6 / rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder to write to")
    options = parser.parse_args()
    steps = {
        "interest": lambda folder: interest(folder, options.users),
        "publishes, 1 replica": lambda folder: publishes(folder, 1, options.users),
        "publishes, 3 replicas": lambda folder: publishes(folder, 3, options.users),
        **{f"{count} nodes": lambda folder, count=count: nodes(folder, count, 100) for count in (1, 10, 100, 500)},
    }
    figures: Figures = {"measured": time.strftime("%Y-%m-%d"), "machine": machine()}
    for name, step in steps.items():
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = step(Path(folder))
        print(name, json.dumps(figures[name]), flush=True)
    options.results.mkdir(exist_ok=True)
    (options.results / "engine.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

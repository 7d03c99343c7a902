"""What sharing messages costs: each figure in memory alone, on NATS, and on Redis."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from engines import NATS, REDIS, Engine
from programs import OURS, Load, Server

if TYPE_CHECKING:
    from sections import Bench, Figure

MEMORY = "memory"
BATCH = 200


def brokers(bench: "Bench") -> "Iterator[Figure]":
    for kind in (MEMORY, NATS, REDIS):
        for measure in (_throughput, _latency, _memory):
            with ExitStack() as running:
                engine = None if kind == MEMORY else running.enter_context(Engine(kind, bench.folder))
                for what, value in measure(bench, running, engine):
                    yield f"{what}, {kind}", OURS, value
    for kind in (NATS, REDIS):
        for count in (1, 2):
            yield f"messages/s, nodes: {count}, no pinning, {kind}", OURS, _nodes(bench, kind, count)


def _node(running: ExitStack, bench: "Bench", engine: Engine | None) -> Server:
    return running.enter_context(bench.server(OURS, *(_shares(engine) if engine else ())))


def _shares(engine: Engine) -> tuple[str, ...]:
    """Name the engine; a busy machine is no outage here."""
    return "--broker", engine.url, "--broker-probe", "30"


def _throughput(bench: "Bench", running: ExitStack, engine: Engine | None) -> Iterator[tuple[str, float]]:
    node = _node(running, bench, engine)
    load = running.enter_context(bench.load(node))
    streams = bench.of(1000)
    load.open(streams)
    _publish(load, streams, bench.of(20_000))
    used = node.cpu(), engine.cpu() if engine else 0.0
    messages = bench.of(200_000)
    yield f"messages/s to distinct users, batches of {BATCH}", _publish(load, streams, messages)
    yield "CPU us a message, node", (node.cpu() - used[0]) / messages * 1e6
    if engine:
        yield "CPU us a message, engine", (engine.cpu() - used[1]) / messages * 1e6
    body = json.dumps({"to": {"user": "u0"}, "data": "x" * 128})
    load.request("POST", "/sse/publish", body, 16, 0.5)
    yield "messages/s, one a request", load.request("POST", "/sse/publish", body, 16, bench.seconds(5))["per_second"]


def _publish(load: Load, streams: int, messages: int, user: str = "u") -> float:
    found = load.publish({"user": f"{user}$I"}, messages=messages, targets=streams, batch=BATCH, window=8 * BATCH)
    return float(found["messages_per_second"])


def _latency(bench: "Bench", running: ExitStack, engine: Engine | None) -> Iterator[tuple[str, float]]:
    node = _node(running, bench, engine)
    load = running.enter_context(bench.load(node))
    load.open(10)
    places = [("on the same node", node)]
    if engine:
        places.append(("on the other node", _node(running, bench, engine)))
    for where, published_on in places:
        load.turn_to(published_on)
        load.publish(messages=100, window=1)
        found = load.publish({"user": "u$I"}, targets=10, rate=200, seconds=bench.seconds(10))
        yield f"p50 ms from publish {where} to receipt", found["p50"]
        yield f"p99 ms from publish {where} to receipt", found["p99"]


def _memory(bench: "Bench", running: ExitStack, engine: Engine | None) -> Iterator[tuple[str, float]]:
    node = _node(running, bench, engine)
    load = running.enter_context(bench.load(node))
    streams = bench.of(10_000)
    parts = {"node": node, **({"engine": engine} if engine else {})}
    before = {name: part.pss() for name, part in parts.items()}
    used = {name: part.cpu() for name, part in parts.items()}
    load.open(streams)
    for name, part in parts.items():
        yield f"KiB a stream, {name}", (part.pss() - before[name]) / streams
        yield f"CPU us a connect, {name}", (part.cpu() - used[name]) / streams * 1e6


def _nodes(bench: "Bench", kind: str, count: int) -> float:
    """Publish on so many nodes at once, each to its own streams; everything shares all cores."""
    streams = bench.of(1000)
    with ExitStack() as running:
        engine = running.enter_context(Engine(kind, bench.folder, core=None))
        loads = []
        for number in range(count):
            node = running.enter_context(Server(OURS, bench.folder, *_shares(engine), core=None))
            load = running.enter_context(bench.load(node))
            load.open(streams, user=f"n{number}u")
            loads.append((load, f"n{number}u"))
        with ThreadPoolExecutor() as pool:
            for messages in (bench.of(20_000), bench.of(100_000)):
                rates = list(pool.map(lambda one, sent=messages: _publish(one[0], streams, sent, one[1]), loads))
    return sum(rates)

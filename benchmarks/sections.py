"""What is measured. Each section is a function that runs one round and yields its figures."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from brokers import brokers
from programs import FLOOR, LEAST, LIMIT, OURS, Load, Server

Figure = tuple[str, str, float]
"""What, of which server, how much."""

Section = Callable[["Bench"], Iterator[Figure]]


@dataclass(frozen=True)
class Bench:
    """Where programs are, and how large everything is: a tenth when `quick`."""

    folder: Path
    quick: bool

    def of(self, full: int) -> int:
        """Scale a number of streams or messages."""
        return max(1, full // 10) if self.quick else full

    def seconds(self, full: float) -> float:
        """Scale a duration."""
        return full / 5 if self.quick else full

    def server(self, kind: str, *flags: str) -> Server:
        return Server(kind, self.folder, *flags)

    def load(self, server: Server) -> Load:
        return Load(server, self.folder)


def fanout(bench: Bench) -> Iterator[Figure]:
    for kind in (LIMIT, OURS):
        yield from _fanout(bench, kind, bench.of(1000), bench.of(1000), "")


def growth(bench: Bench) -> Iterator[Figure]:
    for streams in (100, 1000, 5000, 15000):
        count = bench.of(streams)
        for kind in (LIMIT, OURS):
            yield from _fanout(bench, kind, count, max(10, bench.of(1_500_000) // streams), f", {count} streams")


def _fanout(bench: Bench, kind: str, streams: int, messages: int, case: str) -> Iterator[Figure]:
    with bench.server(kind) as server, bench.load(server) as load:
        empty = server.pss()
        load.open(streams)
        idle = server.pss() - empty
        load.publish(messages=max(1, messages // 10), window=8)
        before = server.cpu()
        found = load.publish(messages=messages, window=8)
        yield f"deliveries/s{case}", kind, found["per_second"]
        yield f"CPU us a delivery{case}", kind, (server.cpu() - before) / max(1, found["deliveries"]) * 1e6
        if case and kind == OURS:
            yield f"KiB a stream{case}", kind, idle / streams


def latency(bench: Bench) -> Iterator[Figure]:
    for kind in (LIMIT, LEAST, OURS):
        with bench.server(kind) as server, bench.load(server) as load:
            load.open(bench.of(1000))
            load.publish(messages=20, window=8)
            found = load.publish(rate=20, seconds=bench.seconds(10))
            yield "p50 ms at 20 messages/s", kind, found["p50"]
            yield "p99 ms at 20 messages/s", kind, found["p99"]


def memory(bench: Bench) -> Iterator[Figure]:
    streams = bench.of(15000)
    with bench.server(OURS) as server, bench.load(server) as load:
        empty = server.pss()
        load.open(streams)
        yield "KiB an idle stream", OURS, (server.pss() - empty) / streams
        load.publish(messages=bench.of(1000), batch=10, window=40)
        yield f"KiB a stream after {bench.of(1000)} messages", OURS, (server.pss() - empty) / streams
        waves = []
        for _ in range(2):
            load.close()
            _await_no_streams(server)
            waves.append(server.pss())
            load.open(streams)
        yield "memory after the second wave / the first", OURS, waves[1] / waves[0]


def _await_no_streams(server: Server) -> None:
    while _metric(server, "open_streams"):
        time.sleep(0.1)


def _metric(server: Server, name: str) -> float:
    lines = _get(server.admin_port, "/metrics").splitlines()
    return float(next(line for line in lines if line.startswith(f"tornado_sse_{name} ")).rpartition(" ")[2])


def _get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def connects(bench: Bench) -> Iterator[Figure]:
    count = bench.of(10000)
    for kind in (LIMIT, FLOOR, OURS):
        with bench.server(kind) as server, bench.load(server) as load:
            before = server.cpu()
            yield "connects/s, each with a new token", kind, load.open(count)["per_second"]
            yield "CPU us a connect", kind, (server.cpu() - before) / count * 1e6


def batches(bench: Bench) -> Iterator[Figure]:
    for kind, batch in ((LIMIT, 1), (OURS, 10)):
        with bench.server(kind) as server, bench.load(server) as load:
            load.open(bench.of(1000))
            messages = bench.of(1000) * batch
            load.publish(messages=messages // 10, window=8 * batch, batch=batch)
            found = load.publish(messages=messages, window=8 * batch, batch=batch)
            yield "deliveries/s, batches of 10 (limit: 1)", kind, found["per_second"]


def publish(bench: Bench) -> Iterator[Figure]:
    body = json.dumps({"to": {"user": "u0"}, "data": "x" * 128})
    for kind in (FLOOR, LIMIT, OURS):
        with bench.server(kind) as server, bench.load(server) as load:
            load.request("POST", "/sse/publish", body, 16, 0.5)
            found = load.request("POST", "/sse/publish", body, 16, bench.seconds(5))
            yield "POST /sse/publish a second, one token", kind, found["per_second"]
            if kind != LIMIT:
                target = f"/sse/send?userId=u0&message={'x' * 128}"
                found = load.request("GET", target, "", 16, bench.seconds(5))
                yield "GET /sse/send a second, one token", kind, found["per_second"]


def unicast(bench: Bench) -> Iterator[Figure]:
    streams = bench.of(5000)
    with bench.server(OURS) as server, bench.load(server) as load:
        load.open(streams)
        for messages in (bench.of(20000), bench.of(300000)):
            found = load.publish({"user": "u$I"}, messages=messages, targets=streams, batch=1000, window=8000)
        yield "messages/s, NDJSON to distinct users", OURS, found["messages_per_second"]


def slow(bench: Bench) -> Iterator[Figure]:
    streams = bench.of(2000)
    for case, stuck in (("", 0), (", a tenth never reads", streams // 10)):
        with bench.server(OURS) as server, bench.load(server) as load:
            load.open(streams, slow=stuck)
            load.publish(messages=10, window=4)
            before = server.pss()
            found = load.publish(rate=20, seconds=bench.seconds(15), size=8192)
            yield f"p99 ms, 8 KiB messages{case}", OURS, found["p99"]
            yield f"MiB more memory after{case}", OURS, (server.pss() - before) / 1024
            yield f"streams closed as slow{case}", OURS, _metric(server, 'streams_closed_total{reason="slow"}')


def gzip(bench: Bench) -> Iterator[Figure]:
    rows = [
        {"id": 7919 * i % 10007, "name": f"item {i}", "price": 31 * i % 997 / 10, "ok": i % 3 == 0} for i in range(16)
    ]
    data = json.dumps({"marker": "$M", "rows": rows})
    for case, asks in (("identity", False), ("gzip", True)):
        with bench.server(OURS, "--compression", "--keepalive", "300") as server, bench.load(server) as load:
            load.open(bench.of(1000), gzip=asks)
            load.publish(data=data, messages=20, window=8, size=32)
            before = server.cpu()
            found = load.publish(data=data, messages=bench.of(1000), window=8, size=32)
            yield f"CPU us a delivery of 1 KiB, {case}", OURS, (server.cpu() - before) / found["deliveries"] * 1e6
            yield f"bytes a delivery of 1 KiB, {case}", OURS, found["bytes"] / found["deliveries"]


def topics(bench: Bench) -> Iterator[Figure]:
    streams = bench.of(10000)
    for full in (1, 10, 10000):
        count = min(full, streams)
        each = streams // count
        with bench.server(OURS) as server, bench.load(server) as load:
            load.open(streams, topics=count)
            batch, window = max(1, min(100, count // 10)), max(8, count // 5)
            for deliveries in (bench.of(100000), bench.of(1_000_000)):
                before = server.cpu()
                found = load.publish(
                    {"channel": "c$I"},
                    messages=max(1, deliveries // each),
                    targets=count,
                    each=each,
                    batch=batch,
                    window=window,
                )
            yield f"deliveries/s, topics: {count}", OURS, found["per_second"]
            used = server.cpu() - before
            yield f"CPU us a delivery, topics: {count}", OURS, used / max(1, found["deliveries"]) * 1e6


def health(bench: Bench) -> Iterator[Figure]:
    with bench.server(OURS) as server, bench.load(server) as load:
        load.open(bench.of(15000))
        times: list[float] = []
        over = threading.Event()
        watcher = threading.Thread(target=_watch_health, args=(server, times, over))
        watcher.start()
        load.publish(messages=bench.of(200), window=4)
        over.set()
        watcher.join()
        yield (
            f"p99 ms of /healthz, fan-out to {bench.of(15000)} streams",
            OURS,
            sorted(times)[int(len(times) * 0.99)] * 1e3,
        )
        total, within = (_metric(server, f"loop_lag_seconds_{name}") for name in ("count", 'bucket{le="0.01"}'))
        yield "looks at the clock that came over 10 ms late, of 1,000", OURS, (total - within) / total * 1e3


def _watch_health(server: Server, times: list[float], over: threading.Event) -> None:
    while not over.wait(0.01):
        began = time.perf_counter()
        _get(server.admin_port, "/healthz")
        times.append(time.perf_counter() - began)


def processes(bench: Bench) -> Iterator[Figure]:
    """One process, then two on one port; no pinning: with two cores the load shares them."""
    body = json.dumps({"to": {"user": "u0"}, "data": "x" * 128})
    for count in (1, 2):
        with ExitStack() as running:
            first = running.enter_context(Server(OURS, bench.folder, "--reuse-port", core=None))
            for _ in range(count - 1):
                running.enter_context(Server(OURS, bench.folder, "--reuse-port", port=first.port, core=None))
            load = running.enter_context(bench.load(first))
            load.request("POST", "/sse/publish", body, 64, 0.5)
            found = load.request("POST", "/sse/publish", body, 64, bench.seconds(5))
            yield f"POST /sse/publish a second, processes: {count}", OURS, found["per_second"]
            yield f"connects/s, processes: {count}", OURS, load.open(bench.of(10000))["per_second"]


SECTIONS: dict[str, Section] = {
    section.__name__: section
    for section in (
        *(fanout, latency, memory, connects, batches, publish, unicast),
        *(slow, gzip, growth, topics, health, processes, brokers),
    )
}

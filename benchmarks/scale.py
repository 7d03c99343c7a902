"""100,000 streams on one machine, through workers and the engine that they bring along. See README.md beside this file.

Every stream must get every message to all exactly once: their numbers only rise, and together there are as many
arrivals as messages times streams.
"""

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import kernel
import scale_page
from crowd import Crowd, Probes, marked
from programs import HERE, OURS, Server, build
from scale_run import PATIENCE, PROBES, Run
from worker_metrics import counters, open_streams, troubles

Figures = dict[str, Any]


def connect(run: Run) -> Figures:
    before = run.cpu()
    seconds, again = run.crowd.open()
    return opening(run, seconds, again, before)


def opening(run: Run, seconds: float, again: int, before: Counter[str]) -> Figures:
    used = per_unit(run, before, 1)
    return {"seconds": seconds, "per_second": run.crowd.streams / seconds, "came_again": again, "cpu_us": used}


def idle(run: Run, seconds: float) -> Figures:
    """Let keepalives come, two rounds of them."""
    before = run.cpu()
    run.check(run.crowd.receive(0, seconds), 0)
    return {
        "seconds": seconds,
        "cpu_share": {part: (used - before[part]) / seconds for part, used in run.cpu().items()},
    }


def memory(run: Run) -> Figures:
    """KiB, by part; `slab` and `tcp_mem` are the kernel's, for both ends of each connection."""
    parts = {part: [kernel.pss(pid) for pid in pids] for part, pids in run.parts().items()}
    tcp = kernel.tcp()
    return parts | {
        "load": run.crowd.pss(),
        "slab": kernel.slab(),
        "tcp_mem": tcp["mem"] * 4,
        "tcp_sockets": tcp["inuse"],
        "available": kernel.available(),
    }


def fanout(run: Run, messages: int) -> Figures:
    """Send one message after another, each when the one before has reached everybody."""
    before = run.cpu()
    found = [run.to_all() for _ in range(messages)]
    return {
        "messages": messages,
        "bytes_a_delivery": found[-1].bytes / found[-1].arrivals,
        "first_ms": median(one.first for one in found),
        "median_ms": median(one.quantile(0.5) for one in found),
        "p99_ms": median(one.quantile(0.99) for one in found),
        "last_ms": [one.last for one in found],
        "cpu_us": per_unit(run, before, messages),
    }


def per_unit(run: Run, before: Counter[str], times: int) -> dict[str, float]:
    """CPU time of each part for each stream."""
    return {part: (used - before[part]) / times / run.crowd.streams * 1e6 for part, used in run.cpu().items()}


def users(run: Run, rounds: int, middle_ms: float) -> Figures:
    """Send messages to single users: in quiet, and while a message to all is on its way."""
    quiet = [one for _ in range(rounds) for one in run.to_probes()]
    busy: list[float] = []
    for _ in range(rounds):
        sending = run.pool.submit(run.to_all)
        busy += run.to_probes(0.2 + middle_ms / 1000)
        sending.result()
    return {"quiet_ms": spread(quiet), "busy_ms": spread(busy)}


def spread(times: list[float]) -> Figures:
    times = sorted(times)
    return {"count": len(times), "p50": median(times), "p99": times[int(len(times) * 0.99)], "max": times[-1]}


def resume(run: Run, burst: int) -> Figures:
    """All leave, a message is published, all come back and get it."""
    (receipt,) = run.publish(marked(run.number))
    run.check(run.crowd.receive(1, PATIENCE), 1)
    run.crowd.close()
    while sum(open_streams(run.server)) > PROBES:
        time.sleep(0.2)
    run.publish(marked(0))
    before = run.cpu()
    seconds, again = run.crowd.open(f"?lastEventId={receipt['position']}", burst)
    found = opening(run, seconds, again, before)
    run.check(run.crowd.receive(1, PATIENCE), 1)
    return found


def phases(run: Run, messages: int) -> Iterator[tuple[str, Figures]]:
    yield "memory_empty", memory(run)
    yield "connect", connect(run)
    yield "streams_of_workers", {"open": open_streams(run.server)}
    yield "idle", idle(run, 30)
    yield "memory_idle", memory(run)
    found = fanout(run, messages)
    yield "fanout", found
    yield "users", users(run, messages, found["median_ms"] / 2)
    yield "memory_after_messages", memory(run)
    yield "resume", resume(run, 128)
    yield "storm", resume(run, run.crowd.streams)
    yield "memory_after_resume", memory(run)
    run.check(run.crowd.receive(0, 3), 0)
    yield (
        "faults",
        {
            "count": run.faults,
            "publishes answered 503": run.unavailable,
            **counters(run.server),
            "log": troubles(run.server),
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--loads", type=int, default=6, help="load generators, each for at most 20,000 streams")
    parser.add_argument("--messages", type=int, default=10, help="messages to all, and rounds of messages to users")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder to write to")
    options = parser.parse_args()
    figures: Figures = {name: getattr(options, name) for name in ("streams", "workers", "loads")}
    figures["load_before"] = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        os.environ["TMPDIR"] = name  # what the killed server leaves goes with the rest
        with (
            Server(OURS, folder, "--workers", str(options.workers), core=None) as server,
            Crowd(server, folder, options.streams, options.loads) as crowd,
            closing(Probes(server, PROBES)) as probes,
            ThreadPoolExecutor(3) as pool,
        ):
            for phase, found in phases(Run(server, crowd, probes, pool), options.messages):
                print(phase, json.dumps(found), flush=True)
                figures[phase] = found
    scale_page.save(options.results, figures)


if __name__ == "__main__":
    main()

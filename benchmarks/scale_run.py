"""What the phases of the scale run share: its processes, and publishing with a count of what arrives."""

import http.client
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import kernel
from crowd import Arrived, Crowd, Probes, marked
from programs import Server, token

PATIENCE = 120.0
"""Seconds until what has not arrived is missing."""

PROBES = 12


@dataclass
class Run:
    """What the phases share.

    `number` counts the messages to all since the streams opened, `unavailable` the publishes answered 503.
    """

    server: Server
    crowd: Crowd
    probes: Probes
    pool: ThreadPoolExecutor
    number: int = 0
    faults: int = 0
    unavailable: int = 0

    def parts(self) -> dict[str, list[int]]:
        """Return the processes of the server, by what they are."""
        found: dict[str, list[int]] = {"supervisor": [self.server.pid], "workers": [], "nats-server": []}
        for pid in kernel.children(self.server.pid):
            found["nats-server" if "nats-server" in kernel.command(pid) else "workers"].append(pid)
        return found

    def cpu(self) -> Counter[str]:
        used = Counter({part: sum(map(kernel.cpu, pids)) for part, pids in self.parts().items()})
        return used + Counter(load=self.crowd.cpu())

    def publish(self, body: str) -> list[dict[str, Any]]:
        """Publish NDJSON, again and again while it is answered 503; return the receipts."""
        while (found := self._try(body)) is None:
            self.unavailable += 1
            time.sleep(1)
        return found

    def _try(self, body: str) -> list[dict[str, Any]] | None:
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)) as connection:
            headers = {"Authorization": f"Bearer {token('publisher', 'publish')}"}
            connection.request("POST", "/sse/publish", body, headers | {"Content-Type": "application/x-ndjson"})
            answer = connection.getresponse()
            found: dict[str, Any] = json.loads(answer.read())
        if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            return None
        if answer.status != http.HTTPStatus.OK:
            raise SystemExit(f"publishing was answered {answer.status}: {found}")
        return list(found["receipts"])

    def to_all(self) -> Arrived:
        """Publish to all, and wait for every stream."""
        waiting = self.pool.submit(self.crowd.receive, 1, PATIENCE)
        time.sleep(0.2)
        self.publish(marked(self.number))
        self.number += 1
        return self.check(waiting.result(), 1)

    def to_probes(self, pause: float = 0) -> list[float]:
        """Publish to each probe's user, all in one request; return ms until each was there."""
        time.sleep(pause)
        text = f"probe-{time.monotonic_ns()}"
        waiting = self.pool.submit(self.probes.receive, text, PATIENCE)
        began = time.monotonic()
        self.publish("\n".join(json.dumps(item) for item in self.probes.items(text)))
        times = waiting.result()
        if len(times) < PROBES:
            print(f"  ! {PROBES - len(times)} messages to a user are missing", flush=True)
        return [(at - began) * 1000 for at in times]

    def check(self, arrived: Arrived, messages: int) -> Arrived:
        missing = messages * self.crowd.streams - arrived.arrivals
        if missing or arrived.reordered or arrived.ended:
            print(f"  ! {missing} missing, {arrived.reordered} twice or out of order, {arrived.ended} streams ended")
        self.faults += abs(missing) + arrived.reordered + arrived.ended
        return arrived

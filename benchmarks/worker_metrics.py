"""What workers count, and what their log complains of."""

import http.client
import json
import re
from collections import Counter
from contextlib import closing

from programs import Server

PATIENCE = 120.0
"""Seconds that an answer may take."""


def open_streams(server: Server) -> list[int]:
    """Streams of each worker."""
    found = re.findall(r"^tornado_sse_open_streams{.*} (.*)$", metrics(server), re.MULTILINE)
    return [int(float(value)) for value in found]


def counters(server: Server) -> dict[str, int]:
    """What the workers count by reason or result, together, where it is not 0."""
    found: Counter[str] = Counter()
    line = r'^tornado_sse_(\w+)_total{.*(?:reason|result)="(\w+)".*} (.*)$'
    for name, label, value in re.findall(line, metrics(server), re.MULTILINE):
        found[f"{name}, {label}"] += int(float(value))
    return dict(+found)


def troubles(server: Server) -> dict[str, int]:
    """What the server's log says above `info`."""
    lines = map(json.loads, server.log.read_text().splitlines())
    return dict(Counter(f"{line['event']}: {line.get('problem', '')}" for line in lines if line["level"] != "info"))


def metrics(server: Server) -> str:
    """Read the metrics of all workers: one that is late is left out, and asked again."""
    while True:
        with closing(http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=PATIENCE)) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        if not re.search(r"^tornado_sse_worker_up{.*} 0", text, re.MULTILINE):
            return text

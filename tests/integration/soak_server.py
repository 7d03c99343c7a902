"""`tornado-sse` that says on SIGUSR1, in its log, how much it holds of what could leak."""

import asyncio
import gc
import json
import signal
import socket
import sys
from collections import Counter
from typing import Any

from tornado.web import RequestHandler

from tornado_sse import cli
from tornado_sse.connection import Connection
from tornado_sse.outbox import Outbox
from tornado_sse.stream import Stream

KINDS: dict[type, str] = {
    asyncio.Task: "tasks",
    socket.socket: "sockets",
    Connection: "connections",
    RequestHandler: "handlers",
    Stream: "streams",
    Outbox: "outboxes",
}


def holdings() -> Counter[str]:
    """Count what can be reached, finished tasks included, but for what was there when the process began to serve."""
    gc.collect()
    held = Counter(timers=_timers(asyncio.get_running_loop()))
    for kind, count in Counter(map(type, gc.get_objects())).items():
        for base, name in KINDS.items():
            held[name] += count * issubclass(kind, base)
    return held


def _timers(loop: Any) -> int:
    return sum(not timer.cancelled() for timer in loop._scheduled)


def _tell(*_: object) -> None:
    line = {"level": "info", "event": "holdings", "held": holdings()}
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


def main() -> None:
    """Serve."""
    signal.signal(signal.SIGUSR1, _tell)
    cli.main()


if __name__ == "__main__":
    main()

"""Several load generators as one, for more streams than a process may have open files; and clients that are timed."""

import json
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import kernel
from programs import CRLF, Load, Server, token

MARK = "~"


@dataclass(frozen=True)
class Arrived:
    """What came to all streams together; times in ms since it was published."""

    arrivals: int
    reordered: int
    bytes: int
    ended: int
    first: float
    last: float
    times: Counter[float]

    def quantile(self, share: float) -> float:
        reached = 0
        for time_ms, count in sorted(self.times.items()):
            reached += count
            if reached >= share * self.arrivals:
                return time_ms
        return self.last


class Crowd:
    """`streams` of users u0, u1, ... below several load generators. Their tokens are made beforehand."""

    def __init__(self, server: Server, folder: Path, streams: int, loads: int) -> None:
        self.streams = streams
        self._loads = [Load(server, folder, core=None) for _ in range(loads)]
        self._folder = folder
        self._pool = ThreadPoolExecutor(loads)
        self._shares = [range(index, streams, loads) for index in range(loads)]
        self._tokens = [token(f"u{index}") for index in range(streams)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for load in self._loads:
            load.__exit__(kind, error, trace)
        self._pool.shutdown()

    def open(self, query: str = "", burst: int = 128) -> tuple[float, int]:
        """Open all streams, `burst` at a time from each load generator.

        Return the seconds it took, and how often one was sent away and came again.
        """
        lines = [f"{self._write(share, query)} {burst}" for share in self._shares]
        began = time.monotonic()
        answers = self._tell(lines)
        seconds = time.monotonic() - began
        if refused := sum(answer["refused"] for answer in answers):
            raise SystemExit(f"{refused} of {self.streams} streams did not open")
        return seconds, sum(answer["again"] for answer in answers)

    def receive(self, messages: int, seconds: float) -> Arrived:
        """Wait until each stream has had so many messages more; 0: wait the whole time, for what must not come."""
        answers = self._tell([f"receive {messages} {seconds}"] * len(self._loads))
        times: Counter[float] = Counter()
        for answer in answers:
            times.update(dict(answer["times"]))
        return Arrived(
            *(sum(answer[name] for answer in answers) for name in ("arrivals", "reordered", "bytes", "ended")),
            first=min(answer["first"] for answer in answers),
            last=max(answer["last"] for answer in answers),
            times=times,
        )

    def close(self) -> None:
        self._tell(["close"] * len(self._loads))

    def cpu(self) -> float:
        return sum(kernel.cpu(load.pid) for load in self._loads)

    def pss(self) -> float:
        return sum(kernel.pss(load.pid) for load in self._loads)

    def _write(self, share: Iterable[int], query: str) -> str:
        lines = [f"/sse/connect/s{index}{query} {self._tokens[index]}\n" for index in share]
        name = self._folder / f"streams-{lines[0].split('?')[0].rpartition('/')[2].split()[0]}"
        name.write_text("".join(lines))
        return f"open {name} {len(lines)} 0 identity"

    def _tell(self, lines: list[str]) -> list[dict[str, Any]]:
        return list(self._pool.map(Load.tell, self._loads, lines))


class Probes:
    """A few streams of users p0, p1, ... that are read here, each message timed."""

    def __init__(self, server: Server, count: int) -> None:
        self.users = [f"p{index}" for index in range(count)]
        self._selector = selectors.DefaultSelector()
        for user in self.users:
            connection = socket.create_connection(("127.0.0.1", server.port))
            lines = [f"GET /sse/connect/{user} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token(user)}"]
            connection.sendall(CRLF.join([*lines, "", ""]).encode())
            self._selector.register(connection, selectors.EVENT_READ, user)

    def items(self, text: str) -> list[dict[str, object]]:
        """Make a message to each."""
        return [{"to": {"user": user}, "data": text, "idempotencyKey": f"{text}-{user}"} for user in self.users]

    def receive(self, text: str, seconds: float) -> list[float]:
        """Wait until each has seen the text; return when, in monotonic seconds. One that was missed is left out."""
        times: dict[str, float] = {}
        deadline = time.monotonic() + seconds
        while len(times) < len(self.users) and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if text.encode() in key.fileobj.recv(1 << 18):  # type: ignore[union-attr] # they are sockets
                    times.setdefault(key.data, time.monotonic())
        return list(times.values())

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr] # same
        self._selector.close()


def marked(number: int, size: int = 128) -> str:
    """Compose what load.c times and numbers, as JSON of a message to all."""
    marker = f"{MARK}{time.monotonic_ns():016x}{number:08x}{MARK}"
    return json.dumps({"to": "all", "data": marker.ljust(size, "x"), "idempotencyKey": marker})

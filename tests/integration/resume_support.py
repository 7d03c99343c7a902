"""Streams that are cut at random and resume, publishers that never pause, and what both saw.

The clients are EventSource in miniature, on raw sockets: a cut is an RST or a FIN, in the middle of anything.
"""

import asyncio
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sse_parser import Block, Parser, Response

END = "end-of-the-test"
"""Name of the last event; it goes to all."""

CHANNELS = tuple(f"ch-{number}" for number in range(8))
NAMES = (None, None, "order", "note", "день")
TEXTS = (
    "plain",
    "two\nlines",
    "crlf\r\nand cr\rends",
    "\u2028 \U0001f600 \x00",
    " leading space",
    "",
    "data: x\n\nid: 9-9",
)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once with an RST

Target = tuple[str, ...]
"""`("all",)`, `("user", U)`, `("session", U, S)` or `("channel", C)`."""


def seeded(*parts: object) -> random.Random:
    """Return a generator of its own for each part of a run, so that none disturbs another."""
    return random.Random("/".join(map(str, parts)))  # noqa: S311 - chosen by seed to be repeated


@dataclass(frozen=True)
class Published:
    """A message as its publisher knows it; `data` is what is to arrive."""

    targets: tuple[Target, ...]
    name: str
    data: str


@dataclass
class Connection:
    """One connect: the last event id it was made with, and each block that arrived whole."""

    after: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Cut:
    """When a client cuts its connection, whichever comes first; `stall` reads on no more and waits for the time."""

    size: float
    at: float
    abrupt: bool
    stall: bool


@dataclass
class Storm:
    """What hits all clients: cuts until `until` (the loop's time), with pauses of `pause` seconds on average."""

    until: float
    pause: float
    figures: Counter[str] = field(default_factory=Counter)

    def draw(self, rng: random.Random, now: float) -> Cut | None:
        if now >= self.until:
            return None
        size = 0.0 if rng.random() < 0.1 else 10 ** rng.uniform(0, 5.3)
        lifetime = rng.expovariate(1 / 1.5)
        return Cut(size, min(self.until, now + lifetime), abrupt=rng.random() < 0.5, stall=rng.random() < 0.1)


class Client:
    """One stream and its reconnects. `http_1_0`, `gzip` and `in_query` (the last event id) are how it asks."""

    def __init__(self, index: int, seed: str) -> None:
        self.rng = seeded(seed, "client", index)
        self.user = f"user-{index % 20}"
        self.session = f"s{index // 20 % 5}"
        self.channels = tuple(sorted(self.rng.sample(CHANNELS, self.rng.choice((0, 1, 2, 3)))))
        self.http_1_0 = index % 5 == 1
        self.gzip = index % 5 in (2, 3)
        self.in_query = index % 7 == 0
        self.last_event_id = ""
        self.connections: list[Connection] = []

    @property
    def topics(self) -> list[Target]:
        channels: list[Target] = [("channel", name) for name in self.channels]
        return [("all",), ("user", self.user), ("session", self.user, self.session), *channels]

    async def follow(self, port: int, token: str, storm: Storm) -> None:
        """Stay connected, cut by the storm, until the last event came."""
        loop = asyncio.get_running_loop()
        while True:
            cut = storm.draw(self.rng, loop.time())
            if await self._connect_once(port, token, cut, storm.figures):
                return
            pause = self.rng.expovariate(1 / storm.pause)
            await asyncio.sleep(max(0.0, min(pause, storm.until - loop.time())))

    async def _connect_once(self, port: int, token: str, cut: Cut | None, figures: Counter[str]) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connection = Connection(self.last_event_id)
        self.connections.append(connection)
        figures["connects"] += 1
        writer.write(self._request(token))
        try:
            async with asyncio.timeout_at(cut.at if cut else None):
                ended = await self._read(reader, connection, cut)
            figures["cuts by size" if cut and not ended else "ends by the server"] += not ended or cut is None
        except TimeoutError:
            figures["cuts by time"] += 1
            ended = False
        figures["cuts before the first block"] += not connection.blocks
        await _close(writer, abrupt=cut is not None and cut.abrupt)
        return ended

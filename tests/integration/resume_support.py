"""Streams that are cut at random and resume, publishers that never pause, and what both saw.

The clients are EventSource in miniature on raw sockets: a cut is an RST or a FIN, in the middle of anything.
"""

import asyncio
import random
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from urllib.parse import quote, urlencode, urlsplit

from resume_load import ALL, CHANNELS, END, USERS, Ledger, Publisher, Target, seeded
from server_support import token
from sse_parser import Block, Parser, Response

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends an RST at once."""


@dataclass
class Connection:
    """One connect: the last event id that it was made with, and each block that arrived whole."""

    after: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Cut:
    """A connection is cut after `size` bytes or at `at`, the loop's time.

    Before that, once the answer began to come, nothing is read for `lull` seconds.
    """

    size: float
    at: float
    abrupt: bool
    lull: float


UNCUT = Cut(inf, inf, abrupt=False, lull=0)


@dataclass
class Storm:
    """What hits every client: cuts up to the loop's time `until`, with pauses of `pause` seconds on average."""

    until: float
    pause: float
    figures: Counter[str] = field(default_factory=Counter)

    def draw(self, rng: random.Random, now: float) -> Cut:
        if now >= self.until:
            return UNCUT
        abrupt = rng.random() < 0.5
        if rng.random() < 0.2:
            lull = rng.uniform(1, 4)
            return Cut(inf, min(self.until, now + lull + rng.expovariate(1)), abrupt, lull)
        size = 0 if rng.random() < 0.1 else 10 ** rng.uniform(1, 5.5)
        return Cut(size, min(self.until, now + rng.expovariate(1 / 1.5)), abrupt, lull=0)

    def pause_after(self, rng: random.Random, now: float) -> float:
        return max(0.0, min(rng.expovariate(1 / self.pause), self.until - now))


class Client:
    """One stream and its reconnects. Some speak HTTP/1.0, some take gzip, some send their position in the query."""

    def __init__(self, index: int, seed: str) -> None:
        self.rng = seeded(seed, "client", index)
        self.user = USERS[index % len(USERS)]
        self.session = f"s{index // len(USERS) % 5}"
        self.channels = self.rng.sample(CHANNELS, self.rng.randrange(4))
        self.http_1_0 = index % 5 == 1
        self.gzip = index % 5 in (2, 3)
        self.in_query = index % 7 == 0
        self.last_event_id = ""
        self.connections: list[Connection] = []

    @property
    def topics(self) -> list[Target]:
        """What it listens to."""
        channels: list[Target] = [("channel", name) for name in self.channels]
        return [ALL, ("user", self.user), ("session", self.user, self.session), *channels]

    async def follow(self, port: int, credential: str, storm: Storm) -> None:
        """Stay connected, cut by the storm, until the last message has come."""
        now = asyncio.get_running_loop().time
        while True:
            cut = storm.draw(self.rng, now())
            outcome = await self._connect(port, credential, cut)
            storm.figures[outcome] += 1
            storm.figures["nothing read"] += not self.connections[-1].blocks
            storm.figures["lulls"] += cut.lull > 0
            if outcome == "finished":
                return
            await asyncio.sleep(storm.pause_after(self.rng, now()))

    async def _connect(self, port: int, credential: str, cut: Cut) -> str:
        connection = Connection(self.last_event_id)
        self.connections.append(connection)
        reader, writer = await _open(port, slow=cut.lull > 0)
        writer.write(self._request(credential))
        try:
            async with asyncio.timeout_at(None if cut is UNCUT else cut.at):
                return await self._read(reader, connection, cut)
        except TimeoutError:
            return "cut by time"
        except ConnectionError:
            return "reset by the server"
        finally:
            await _close(writer, abrupt=cut.abrupt)

    def _request(self, credential: str) -> bytes:
        query = [("channel", name) for name in self.channels]
        headers = {"Host": "test", "Authorization": f"Bearer {credential}", "Accept": "text/event-stream"}
        if self.gzip:
            headers["Accept-Encoding"] = "gzip"
        if self.in_query and self.last_event_id:
            query.append(("lastEventId", self.last_event_id))
        elif self.last_event_id:
            headers["Last-Event-ID"] = self.last_event_id
        path = f"/sse/connect/{quote(self.session)}?{urlencode(query)}"
        first = f"GET {path} HTTP/1.{0 if self.http_1_0 else 1}"
        return "\r\n".join([first, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()

    async def _read(self, reader: asyncio.StreamReader, connection: Connection, cut: Cut) -> str:
        response, parser, left, lull = Response(), Parser(), cut.size, cut.lull
        while left > 0:
            data = await reader.read(65536)
            if not data:
                return "ended by the server"
            for block in parser.feed(response.feed(data[: int(min(left, len(data)))])):
                connection.blocks.append(block)
                self.last_event_id = parser.last_event_id
                if block.name == END:
                    return "finished"
            assert response.status in (None, 200), f"answered {response.status}"
            left -= len(data)
            await asyncio.sleep(lull)
            lull = 0
        return "cut by size"


async def _open(port: int, *, slow: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection = socket.socket()
    connection.setblocking(False)
    if slow:  # and small: what the server sends fills the buffers of both sides soon
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=connection, limit=4096 if slow else 65536)


async def _close(writer: asyncio.StreamWriter, *, abrupt: bool) -> None:
    if abrupt:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@dataclass(frozen=True)
class Run:
    """What came of a storm."""

    clients: list[Client]
    ledger: Ledger
    figures: Counter[str]


async def weather(url: str, *, seed: str, streams: int, seconds: float, pause: float) -> Run:
    """Let a storm go over clients and publishers for so many seconds, then wait until all have caught up."""
    port = urlsplit(url).port
    assert port is not None
    storm = Storm(asyncio.get_running_loop().time() + seconds, pause)
    clients = [Client(index, seed) for index in range(streams)]
    ledger = Ledger()
    publishers = [Publisher(index, seed, ledger) for index in range(3)]
    async with asyncio.timeout(seconds + 30), asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.follow(port, token(client.user), storm))
        credential = token("backend")
        async with asyncio.TaskGroup() as publishing:
            for publisher in publishers:
                publishing.create_task(publisher.run(port, credential, storm.until + 0.3))
        await publishers[0].finish(port, credential)
    return Run(clients, ledger, storm.figures)

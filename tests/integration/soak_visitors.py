"""Clients that leave and come back, hundreds of them in a second, and judge what they got."""

import socket
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from math import inf
from multiprocessing.connection import Connection
from time import monotonic
from typing import TYPE_CHECKING

from chaos_checker import Checker, Verdict
from chaos_client import Run, Subscriber
from chaos_history import Opened, Sent
from chaos_play import CATCH_UP
from resume_load import seeded
from server_support import token
from soak_client import SoakClient
from tornado_sse.cli.bench.sockets import READ, Loop

if TYPE_CHECKING:
    from tornado_sse.position import Position

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends an RST at once."""

STRANGERS = 0.05
"""How many connections that come to nothing there are for each client that leaves."""

TURN = 0.05
"""Longest turn of the loop, in seconds."""

PATIENCE = 20.0
"""Seconds that a stranger waits for an answer."""

STRANGE = ("", "GET /sse/conn", "GET /sse/connect/s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\n\r\n")
"""What strangers say before they are gone; the last is answered."""


@dataclass(frozen=True)
class Share:
    """Clients `first`, `first + step` and so on below `clients`. At first `pace` a second come, then `leaving` go."""

    port: int
    seed: str
    first: int
    step: int
    clients: int
    leaving: float
    pace: float

    @property
    def source(self) -> str:
        """The address that they come from."""
        return f"127.0.1.{1 + self.first}"


@dataclass
class Seen:
    """What became of clients. `finished` are those that got the last message, which the verdict does not count."""

    verdict: Verdict = field(default_factory=Verdict)
    figures: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    opened: int = 0
    resumed: int = 0

    @property
    def received(self) -> int:
        """Count all messages that came."""
        return self.verdict.received + self.finished

    def add(self, other: "Seen") -> None:
        """Add the clients of another process."""
        self.verdict.complaints += other.verdict.complaints
        for name in ("received", "owed", "gaps", "told"):
            setattr(self.verdict, name, getattr(self.verdict, name) + getattr(other.verdict, name))
        self.figures += other.figures
        for name in ("finished", "opened", "resumed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Visitors:
    """The clients of a process, when each is to come, and who is to leave."""

    def __init__(self, share: Share, pipe: Connection) -> None:
        self._share = share
        self._pipe = pipe
        self._rng = seeded(share.seed, "leaving", share.first)
        self._expired = token("nobody", ttl=-60)
        self._run = Run(share.port, monotonic())
        self._loop = Loop()
        self._clients = [
            self._client(place, number) for place, number in enumerate(range(share.first, share.clients, share.step))
        ]
        self._coming = [(place / share.pace, place) for place in range(len(self._clients))]  # a heap
        self._leaves_at = inf
        self._end: tuple[Sequence[Sent], Position] | None = None

    def live(self) -> None:
        """Let them live until all have the last message, or it is taking too long. Raises EOFError: they are not to."""
        self._loop.watch(self._pipe.fileno(), READ, self._hear)
        self._until(lambda: all(client.subscriber.account.events for client in self._clients))
        self._pipe.send(None)
        self._until(lambda: self._end is not None)
        assert self._end
        deadline = self._run.now() + CATCH_UP
        self._until(lambda: self._run.figures["finished"] == len(self._clients) or self._run.now() > deadline)
        for client in self._clients:
            client.close()
        self._pipe.send(self._judge(Checker(*self._end)))

    def _client(self, place: int, number: int) -> SoakClient:
        share = self._share
        subscriber = Subscriber(number, share.clients, share.seed, self._run)
        return SoakClient(subscriber, self._loop, (share.port, share.source), partial(self._over, place))

    def _over(self, place: int, pause: float | None) -> None:
        if pause is not None:
            heappush(self._coming, (self._run.now() + pause, place))

    def _hear(self) -> None:
        told = self._pipe.recv()
        if isinstance(told, bool):
            self._leaves_at = self._run.now() if told else inf
        else:
            self._end = told

    def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            end = self._run.now() + TURN
            while (now := self._run.now()) < end:
                self._turn(now, end)

    def _turn(self, now: float, end: float) -> None:
        while self._coming and self._coming[0][0] <= now:
            self._clients[heappop(self._coming)[1]].come()
        while self._leaves_at <= now:
            self._leaves_at += self._rng.expovariate(self._share.leaving)
            self._run.figures["left"] += self._rng.choice(self._clients).leave()
            if self._rng.random() < STRANGERS:
                self._be_strange(self._rng.choice(STRANGE))
        due = self._coming[0][0] if self._coming else inf
        self._loop.turn(min(end, due, self._leaves_at) - now)

    def _be_strange(self, says: str) -> None:
        with socket.create_connection(("127.0.0.1", self._share.port), PATIENCE) as connection:
            connection.sendall(says.format(self._expired).encode())
            if says == STRANGE[-1]:
                assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")
                self._run.figures["refused"] += 1
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _judge(self, checker: Checker) -> Seen:
        accounts = [client.subscriber.account for client in self._clients]
        opened = [event for account in accounts for event in account.events if isinstance(event, Opened)]
        return Seen(
            checker.check(accounts),
            self._run.figures,
            finished=sum(account.finished for account in accounts),
            opened=len(opened),
            resumed=sum(bool(event.last_event_id) for event in opened),
        )

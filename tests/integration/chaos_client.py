"""EventSource in miniature, which writes down all that it sees: it reconnects, resumes, and does as it is told."""

import asyncio
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from time import monotonic
from urllib.parse import quote, urlencode

from chaos_history import Account, Ended, Event, Gap, Opened, Received
from resume_load import seeded
from server_support import token
from sse_parser import Block, Parser, Response
from tornado_sse import topic
from tornado_sse.position import Position, parse

END = "end-of-the-run"
"""Name of the last event, which goes to all."""

QUIET = 30.0
"""Seconds without a byte after which a connection is given up: many keepalives. A browser would wait for ever."""

RETRY = 0.5
"""Mean seconds until a reconnect where no `retry` was said."""

CHANNELS = tuple(f"channel {number} \u00e9" for number in range(10))
SESSIONS = 3
CLIENTS_OF_A_USER = 5


def users(clients: int) -> list[str]:
    """Name the users of so many clients."""
    return [f"user-{number}" for number in range(-(-clients // CLIENTS_OF_A_USER))]


@dataclass
class Run:
    """What the clients of a run share: where to, its clock, figures, and one copy of each text."""

    port: int
    began: float
    figures: Counter[str] = field(default_factory=Counter)
    texts: dict[str, str] = field(default_factory=dict)

    def now(self) -> float:
        """Return the seconds since it began."""
        return monotonic() - self.began


class Subscriber:
    """What a client asks for, and what it makes of the bytes that come: all of it but the socket.

    Its topics come from its number: some share a user, a session, or a channel. `retry` is in seconds.
    """

    def __init__(self, number: int, clients: int, seed: str, run: Run) -> None:
        names = users(clients)
        self.rng = seeded(seed, "client", number)
        self.retry = RETRY
        self._user = names[number % len(names)]
        self._session = f"s{number // len(names) % SESSIONS}"
        self._channels = self.rng.sample(CHANNELS, number % 4)
        self._run = run
        self._credential = token(self._user)
        self._last_event_id = ""
        self._response, self._parser, self._farewell = Response(), Parser(), ""
        channels = map(topic.channel, self._channels)
        topics = [topic.ALL, topic.user(self._user), topic.session(self._user, self._session), *channels]
        self.account = Account(f"client {number}", frozenset(topics))

    def request(self) -> bytes:
        """Begin anew: return what to send on a new connection."""
        self._response, self._parser, self._farewell = Response(), Parser(self._last_event_id), ""
        path = f"/sse/connect/{quote(self._session)}?{urlencode([('channel', name) for name in self._channels])}"
        lines = [f"GET {path} HTTP/1.1", "Host: test", "Accept: text/event-stream"]
        lines.append(f"Authorization: Bearer {self._credential}")
        if self._last_event_id:
            lines.append(f"Last-Event-ID: {self._last_event_id}")
        return "\r\n".join([*lines, "", ""]).encode()

    @property
    def is_open(self) -> bool:
        """Whether the server has answered with a stream."""
        return self._response.status == HTTPStatus.OK

    def feed(self, data: bytes) -> str | None:
        """Take what arrived, nothing at its end. Return why the connection is over, None: it is not."""
        response, was_open = self._response, self.is_open
        body = response.feed(data)
        if not was_open and self.is_open:
            self._note(Opened(self._run.now(), self._last_event_id, response.headers.get("x-node", "nobody")))
        if response.status not in (None, HTTPStatus.OK):
            return f"answered {response.status}"
        for block in self._parser.feed(body):
            self._last_event_id = self._parser.last_event_id
            self.retry = self.retry if self._parser.retry is None else self._parser.retry / 1000
            self._farewell = self._take(block) or self._farewell
            if block.name == END:
                self.account.finished = True
                return "finished"
        return None if data and not response.ended else self._farewell or "ended without farewell"

    def ended(self, why: str) -> float | None:
        """Write down that the connection is over. Return in how many seconds to come back, None: no more."""
        self._note(Ended(self._run.now(), why))
        self._run.figures[why] += 1
        return None if self.account.finished else self.retry * self.rng.uniform(0.8, 1.2)

    def _note(self, event: Event) -> None:
        self.account.events.append(event)

    def _take(self, block: Block) -> str | None:
        """Write a block down. Return what a farewell says."""
        if self.account.begin is None and self._last_event_id:
            self.account.begin = _position(self._last_event_id)
        if block.data is None or block.name == END:
            return None
        if block.name == "stream-gap":
            fields = json.loads(block.data)
            after = _position(fields["from"]) if fields["from"] else None
            self._note(Gap(after, _position(fields["to"]), fields["reason"]))
        elif block.name == "stream-closing":
            fields = json.loads(block.data)
            assert fields["reconnect"], f"{self.account.name} was told to stay away: {fields}"
            return f"closed: {fields['reason']}"
        else:
            data = self._run.texts.setdefault(block.data, block.data)
            self._note(Received(_position(block.id or ""), data))
        return None


class ChaosClient:
    """A subscriber with a connection."""

    def __init__(self, number: int, clients: int, seed: str, run: Run) -> None:
        self._subscriber = Subscriber(number, clients, seed, run)
        self._port = run.port

    @property
    def account(self) -> Account:
        """What it saw."""
        return self._subscriber.account

    async def follow(self) -> None:
        """Stay connected until the last message has come."""
        while True:
            try:
                why = await self._connect()
            except (OSError, TimeoutError) as error:
                why = type(error).__name__
            pause = self._subscriber.ended(why)
            if pause is None:
                return
            await asyncio.sleep(pause)

    async def _connect(self) -> str:
        async with asyncio.timeout(QUIET):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(self._subscriber.request())
            while not (why := self._subscriber.feed(await self._next(reader))):
                pass
            return why
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    @staticmethod
    async def _next(reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(QUIET):
            return await reader.read(65536)


@lru_cache(maxsize=4096)  # many clients get the same message
def _position(text: str) -> Position:
    position = parse(text)
    assert position is not None, f"no position: {text!r}"
    return position

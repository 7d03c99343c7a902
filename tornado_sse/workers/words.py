"""What the supervisor and a worker say to each other: lines of JSON over a pair of sockets, secrets among them."""

import asyncio
import socket
from typing import Any, Generic, TypeVar

import msgspec
from pydantic import SecretStr

from tornado_sse.config import Settings
from tornado_sse.console.operations import Operation, Outcome

LONGEST = 1 << 24
"""Bytes of one line at most; metrics are some ten thousand."""

T = TypeVar("T")


class Begin(msgspec.Struct, tag=True):
    """Serve, as worker number `worker`. The first word to a worker."""

    worker: int
    settings: dict[str, Any]


class Tell(msgspec.Struct, tag=True):
    """Tell how things are; the answer is Figures of the same number."""

    number: int


class Take(msgspec.Struct, tag=True):
    """Take new settings; the answer is Taken of the same number."""

    number: int
    settings: dict[str, Any]


class Stop(msgspec.Struct, tag=True):
    """Drain, or end at once."""

    at_once: bool


class Operate(msgspec.Struct, tag=True):
    """Do what the console asks for; the answer is Operated of the same number."""

    number: int
    operation: Operation


class Listening(msgspec.Struct, tag=True):
    """The worker takes connections."""


class Figures(msgspec.Struct, tag=True):
    """How the worker is: `metrics` are in Prometheus's text format."""

    number: int
    ready: bool
    metrics: str


class Taken(msgspec.Struct, tag=True):
    """What became of new settings; `problem` empty: they are in force."""

    number: int
    problem: str


class Operated(msgspec.Struct, tag=True):
    """What came of it."""

    number: int
    outcome: Outcome


Order = Begin | Tell | Take | Stop | Operate
Report = Listening | Figures | Taken | Operated


def spell(settings: Settings) -> dict[str, Any]:
    """Turn settings into what JSON can hold, secrets in the open; `Settings(**spelled)` reads them back."""
    secrets = {name: value.get_secret_value() for name, value in settings if isinstance(value, SecretStr)}
    return settings.model_dump(mode="json") | secrets


class Channel(Generic[T]):
    """One end of a connection between the two, where words of type T arrive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Any) -> None:  # noqa: ANN401 - a type, or a union of such
        self._reader = reader
        self._writer = writer
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(heard)

    def say(self, word: Order | Report) -> None:
        """Send a word, or nothing if there is nobody left to hear it."""
        self._writer.write(msgspec.json.encode(word) + b"\n")

    async def hear(self) -> T | None:
        """Wait for the next word; None: the other side is gone."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return self._decoder.decode(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Speak no more."""
        self._writer.close()


async def orders(connection: socket.socket) -> Channel[Order]:
    """Speak as a worker."""
    return Channel(*await asyncio.open_connection(sock=connection, limit=LONGEST), Order)


async def reports(connection: socket.socket) -> Channel[Report]:
    """Speak as the supervisor."""
    return Channel(*await asyncio.open_connection(sock=connection, limit=LONGEST), Report)

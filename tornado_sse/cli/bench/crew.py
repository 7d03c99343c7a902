"""The streams of one process."""

import ssl
from time import monotonic_ns
from typing import Protocol

import msgspec

from tornado_sse.cli.bench import marker
from tornado_sse.cli.bench.sockets import Endpoint, Loop
from tornado_sse.cli.bench.streams import Stream
from tornado_sse.cli.bench.tally import Tally

BURST = 128
"""Connections that are being made at once."""


class Share(msgspec.Struct, frozen=True):
    """What a process is to open: a request for each stream, of which the first is stream `first` of the run."""

    endpoint: Endpoint
    run: str
    first: int
    requests: list[bytes]


class Crew(Protocol):
    """The streams of one process, this one or another.

    `opened_count` streams have opened, the last one at `last_opened`, monotonic nanoseconds. `failures` did not, and
    `failure` says why the first one didn't. `indexes` has each stream that opened, once `is_settled`. `tally` has its
    latencies once `is_finished`.
    """

    opened_count: int
    last_opened: int
    failures: int
    failure: str
    indexes: list[int]
    tally: Tally

    @property
    def is_settled(self) -> bool:
        """Whether each stream has opened or failed."""

    def start(self) -> None:
        """Begin to connect."""

    def finish(self) -> None:
        """Complete the tally; nothing more is received."""

    @property
    def is_finished(self) -> bool:
        """Whether the tally is complete."""

    def close(self) -> None:
        """Close all streams."""


class LocalCrew:
    """The streams of this process."""

    def __init__(self, loop: Loop, share: Share) -> None:
        self.loop = loop
        self.endpoint = share.endpoint
        self.context = None if share.endpoint.tls_name is None else ssl.create_default_context()
        self.indexes: list[int] = []
        self.opened_count = 0
        self.last_opened = 0
        self.failures = 0
        self.failure = ""
        self.tally = Tally()
        self.is_finished = True
        self._begin = marker.prefix(share.run)
        self._share = share
        self._started: list[Stream] = []

    @property
    def is_settled(self) -> bool:
        """Whether each stream has opened or failed."""
        return self.opened_count + self.failures == len(self._share.requests)

    def start(self) -> None:
        """Keep as many connections in the making as is good."""
        requests = self._share.requests
        while len(self._started) < min(len(requests), self.opened_count + self.failures + BURST):
            place = len(self._started)
            stream = Stream(self, self._share.first + place, requests[place], self._begin)
            self._started.append(stream)
            stream.start()

    def opened(self, stream: Stream) -> None:
        """Take note, and go on."""
        self.indexes.append(stream.index)
        self.opened_count += 1
        self.last_opened = monotonic_ns()
        self.start()

    def failed(self, why: str) -> None:
        """Take note, and go on."""
        self.failures += 1
        self.failure = self.failure or why
        self.start()

    def finish(self) -> None:
        """Nothing is left to do: the tally is always complete."""

    def close(self) -> None:
        """Close all streams."""
        for stream in self._started:
            stream.close()

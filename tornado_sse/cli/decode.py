"""Event streams, the reading side: bytes in, events out (WHATWG HTML section 9.2.6). Pure.

A library's decoder will not do: only this tells empty data from none, keeps the id of a block without data, and ends
lines at CR, LF and CRLF alone, at once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\r|\n")
_RETRY = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Event:
    """An event as dispatched: `id` is the last one seen, its own or not."""

    name: str
    data: str
    id: str


class Decoder:
    """Decodes one response.

    `last_event_id` is what to resume from, and `retry` is in seconds; both begin as given and change as blocks end and
    lines come.
    """

    def __init__(self, last_event_id: str, retry: float) -> None:
        self.last_event_id = last_event_id
        self.retry = retry
        self._rest = b""
        self._after_cr = False
        self._id = last_event_id
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Take bytes (some) and yield the events that they complete."""
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        for line in lines:
            if line:
                self._field(line.decode(errors="replace"))
            else:
                yield from self._dispatch()

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and _RETRY.fullmatch(value):
            self.retry = int(value) / 1000

    def _dispatch(self) -> Iterator[Event]:
        self.last_event_id = self._id
        name, data = self._name, self._data
        self._name, self._data = "", []
        if data:
            yield Event(name or "message", "\n".join(data), self._id)

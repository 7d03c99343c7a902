"""What a chaos run leaves behind: what was published, and what each client saw. Plain data, without I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tornado_sse.position import Position
from tornado_sse.topic import Topic


@dataclass(slots=True)
class Sent:
    """A message as its publisher knows it. No two have the same `data`, so it also names the message.

    `position` None: nobody acknowledged it, so it may have gone or not.
    """

    targets: tuple[Topic, ...]
    data: str
    position: Position | None = None
    tries: int = 0


class Opened(NamedTuple):
    """A connect, `at` in seconds of the run: with which last event id, and which node took it."""

    at: float
    last_event_id: str
    node: str


class Received(NamedTuple):
    """A message as it came."""

    position: Position
    data: str


class Gap(NamedTuple):
    """A hole as told: messages above `after` (None: not known) up to `to` may be missing."""

    after: Position | None
    to: Position
    reason: str


class Ended(NamedTuple):
    """The end of a connection, and why."""

    at: float
    why: str


Event = Opened | Received | Gap | Ended


@dataclass
class Account:
    """What one client saw, in order. `begin` is the first position it had: it is owed everything above."""

    name: str
    topics: frozenset[Topic]
    begin: Position | None = None
    finished: bool = False
    events: list[Event] = field(default_factory=list)

    def story(self) -> Iterable[str]:
        """Tell it, a line for each event."""
        yield f"{self.name} listens to {sorted(self.topics, key=str)}, from {self.begin}"
        for event in self.events:
            yield "  " + told(event)


def told(event: Event) -> str:
    """Put an event in words."""
    match event:
        case Opened(at, last_event_id, node):
            return f"{at:.3f} s: connected to {node} after {last_event_id or 'nothing'}"
        case Received(position, data):
            return f"{position} {data}"
        case Gap(after, to, reason):
            return f"gap ({reason}) above {after} up to {to}"
        case Ended(at, why):
            return f"{at:.3f} s: {why}"

"""What those who run a server can ask of it, and what it answers: shapes, alike within a process and between.

One process performs an operation itself (see local), the supervisor of several asks each and joins the answers.
"""

from typing import Annotated, Any, Literal, Protocol

import msgspec

MOST_ROWS = 200
"""Rows of one page of sessions, as it is asked for from outside."""

DEEPEST = 10_000
"""Rows that can be paged through; who wants those behind searches."""

Column = Literal["user", "address", "age", "sent", "backlog"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Shortened = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]


class Look(msgspec.Struct, frozen=True, tag=True):
    """Take a Sample."""


class Find(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Find open streams; the answer is a Page.

    `search` is a part of a user or an address, whatever its case, or a session as logs shorten it. Empty: all.
    """

    search: Annotated[str, msgspec.Meta(max_length=256)] = ""
    sort: Column = "age"
    descending: bool = False
    offset: Annotated[int, msgspec.Meta(ge=0, le=DEEPEST)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1)] = 50


class End(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Disconnect a session of a user, named as in a Row; None: all of theirs. The answer is Ended."""

    user: Name
    session: Shortened | None = None


class Send(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Publish a message, in the form that `/sse/publish` takes. The answer is Sent, or Refused."""

    to: Any
    data: Any
    event: str | None = None


Operation = Look | Find | End | Send


class Sample(msgspec.Struct, frozen=True, tag=True):
    """How a process stands: what is there now, and what was counted since its start.

    `backlogged` is how many streams have something waiting; `delivery` and `lag` count by the buckets of their
    histograms.
    """

    ready: bool
    draining: bool
    broker_up: bool
    streams: int
    sessions: int
    users: int
    outbox_bytes: int
    backlogged: int
    opened: int
    closed: dict[str, int]
    published: int
    delivered: int
    bytes_sent: int
    delivery: list[int]
    lag: list[int]


class Row(msgspec.Struct, frozen=True):
    """One open stream. `session` is shortened as in logs; `age` is in seconds, `backlog` in bytes."""

    user: str
    session: str
    address: str
    channels: int
    age: float
    sent: int
    backlog: int


class Page(msgspec.Struct, frozen=True, tag=True):
    """Of `found` streams those that were asked for, in order."""

    found: int
    rows: list[Row]


class Ended(msgspec.Struct, frozen=True, tag=True):
    """How many open streams an End concerned."""

    streams: int


class Sent(msgspec.Struct, frozen=True, tag=True):
    """The message's position, and how many open streams of the process that published it get it."""

    position: str
    streams: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Why it was not done, fit to be shown; `status` is that of HTTP."""

    status: int
    message: str


Outcome = Sample | Page | Ended | Sent | Refused


class Operations(Protocol):
    """Whom the console speaks to: one server, or all workers."""

    async def samples(self) -> dict[int, Sample | None]:
        """Look at each process; None: it does not answer."""

    async def perform(self, operation: Find | End | Send) -> Outcome:
        """Do it."""

    def drain(self) -> None:
        """Stop, as at SIGTERM. Raises ApiError if that is not ours to decide."""

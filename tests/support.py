"""What the tests of the pure modules share: a clock, messages, a stream, and a strict reader of the wire format."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tornado_sse.event import Encoding, Frame, encode
from tornado_sse.message import Batch, Draft, Message, number
from tornado_sse.outbox import Outbox
from tornado_sse.position import Position
from tornado_sse.topic import ALL, Topic


class FakeClock:
    """Time that passes when it is told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def make_message(
    sequence: int,
    *topics: Topic,
    data: str | None = None,
    key: str | None = None,
    ttl: float | None = None,
    accepted_at: float = 1000.0,
    traceparent: str | None = None,
) -> Message:
    text = f"m{sequence}" if data is None else data
    return number(
        Draft(topics or (ALL,), text, key=key, ttl=ttl, traceparent=traceparent), Position("e", sequence), accepted_at
    )


GAP = "stream-gap"
NOTICE = Frame(encode("n", event="stream-note"))


def tell_gap(first: int, last: int) -> Frame:
    return Frame(encode(f"{first}..{last}", event=GAP))


def sequences(messages: Sequence[Message]) -> list[int]:
    return [message.sequence for message in messages]


class FakeStream:
    """A stream as fan-out sees it. `takes` says how many bytes its socket takes; it may raise OSError."""

    outbox: Outbox | None = None

    def __init__(
        self,
        user: str = "u",
        session: str = "s",
        channels: tuple[str, ...] = (),
        encoding: Encoding = Encoding.BARE,
        takes: Callable[[bytes], int] = len,
        *,
        labelled: bool = False,
    ) -> None:
        self.labelled = labelled
        self.user = user
        self.session = session
        self.channels = channels
        self.encoding = encoding
        self.sent = 0
        self.takes = takes
        self.writes: list[bytes] = []
        self.backlogs: list[tuple[list[int], int]] = []
        self.failures: list[tuple[list[int], OSError]] = []

    def send(self, data: bytes) -> int:
        self.writes.append(data)
        return self.takes(data)

    def backlog(self, batch: Batch, sent: int) -> None:
        self.backlogs.append((sequences(batch.messages), sent))

    def send_failed(self, batch: Batch, error: OSError) -> None:
        self.failures.append((sequences(batch.messages), error))

    @property
    def received(self) -> list[int]:
        """The sequences of the events written, which must all be whole."""
        return [sequence_of(event) for event in read_events(b"".join(self.writes))]


class Event(NamedTuple):
    """One event dispatched by a client."""

    data: str
    name: str = "message"
    last_id: str = ""


def sequence_of(event: Event) -> int:
    return int(event.last_id.partition("-")[2])


def split_lines(text: str) -> list[str]:
    """Split where the standard does: CRLF, LF and CR end a line, and nothing else does (WHATWG HTML 9.2.5)."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert lines.pop() == "", "the stream ends in the middle of a line"
    return lines


@dataclass
class Reader:
    """Interprets an event stream (WHATWG HTML 9.2.6), and fails on all that a good server would never send."""

    last_id: str = ""
    retry: int | None = None
    comments: int = 0
    events: list[Event] = field(default_factory=list)
    _data: list[str] = field(default_factory=list)
    _name: str = ""

    def feed(self, body: bytes) -> "Reader":
        """Read whole blocks."""
        ended = True
        for line in split_lines(body.decode("utf-8", "strict")):
            ended = line == ""
            self._line(line)
        assert ended, "the stream ends in the middle of a block"
        return self

    def _line(self, line: str) -> None:
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            self._dispatch()
        elif name == "" and colon:
            self.comments += 1
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value
        elif name == "id":
            assert "\0" not in value, "clients ignore an id with NUL"
            self.last_id = value
        elif name != "channel":
            assert name == "retry", f"no such field: {name!r}"
            assert value.isascii(), "retry is in ASCII digits"
            assert value.isdecimal(), "retry is in ASCII digits"
            self.retry = int(value)

    def _dispatch(self) -> None:
        if self._data:
            self.events.append(Event("\n".join(self._data), self._name or "message", self.last_id))
        else:
            assert not self._name, "an event without data is never dispatched"
        self._data, self._name = [], ""


def read_events(body: bytes) -> list[Event]:
    return Reader().feed(body).events


def dechunk(body: bytes) -> list[bytes]:
    """Split a chunked body into its chunks (RFC 9112 section 7.1); the last chunk ends it if it is there."""
    chunks = []
    while body:
        size, line_end, rest = body.partition(b"\r\n")
        assert line_end, "a chunk without size"
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n", "a chunk that does not end where it says"
        chunks.append(rest[:length])
        body = rest[length + 2 :]
        if length == 0:
            assert body == b"", "bytes behind the last chunk"
    return chunks


def make(steps: Iterable[object]) -> None:
    """Make all steps."""
    for _ in steps:
        pass

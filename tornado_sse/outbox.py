"""One stream's backlog: what its socket did not take, bounded in bytes and age. Pure: bytes out, decisions returned.

Three kinds of entries wait here, in order: messages live (which count against the bounds and may be dropped), messages
replayed (which history holds anyway: they count for nothing, so that a long replay is never too much), and the
server's own notices, which are never dropped.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tornado_sse.event import Encoding, Frame
from tornado_sse.message import Message
from tornado_sse.topic import Topic

WRITE_SIZE = 65536
"""Bytes handed to the socket at once, about."""


class SlowPolicy(StrEnum):
    """What happens to a stream whose backlog is over a bound."""

    DISCONNECT = "disconnect"
    """End the stream; the client resumes by position and loses nothing."""
    DROP_OLDEST = "drop-oldest"
    """Throw the oldest messages away and tell of the gap."""
    CONFLATE = "conflate"
    """Of the messages with one key keep the newest; end the stream if that is not enough."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of every outbox: `max_bytes`, and `max_age` in seconds that a live message may wait."""

    max_bytes: int
    max_age: float
    policy: SlowPolicy


class Dropped(NamedTuple):
    """What a step threw away: `messages`, and how many holes of the stream are `gaps` told for the first time."""

    messages: int = 0
    gaps: int = 0


class Overflow(Exception):
    """The backlog is over a bound, and the policy is to end the stream. Until then the step threw `dropped` away."""

    def __init__(self, dropped: Dropped) -> None:
        super().__init__()
        self.dropped = dropped


_NOTHING = Dropped()


class _Entry:
    __slots__ = ("data", "live_since", "lost", "message", "size")

    def __init__(
        self, data: bytes | Frame, message: Message | None = None, live_since: float | None = None, size: int = 0
    ) -> None:
        self.data = data  # a frame is encoded when its turn comes: a form of its own costs memory only then
        self.message = message
        self.live_since = live_since  # None: not live, so it counts for nothing and stays
        self.size = size  # what counts against the bound in bytes
        self.lost: tuple[int, int] | None = None  # a gap notice: first and last sequence dropped

    def encoded(self, encoding: Encoding) -> bytes:
        if isinstance(self.data, Frame):
            self.data = self.data.encoded(encoding)
        return self.data

    def kill(self) -> None:
        """Leave nothing of a live message: it stays in its place, for taking it out of the middle costs a walk."""
        self.data, self.message, self.size = b"", None, 0

    @property
    def is_dead(self) -> bool:
        return self.message is None and self.live_since is not None


_Key = tuple[str, tuple[Topic, ...]]


def _key(entry: _Entry) -> _Key | None:
    message = entry.message
    return None if message is None or message.key is None else (message.key, message.topics)


def _past(item: bytes | Message) -> _Entry:
    return _Entry(item) if isinstance(item, bytes) else _Entry(item.frame, item)


class Outbox:
    """A backlog of one stream.

    It begins `held`: nothing leaves before `release`, while the stream's past is fetched. Live messages up to `floor`
    are part of that past, and ignored. `outdated`: whatever past it is released with, that is not the whole.
    `tell_gap(first, last)` makes the notice for dropped sequences.
    """

    __slots__ = (
        "_dead",
        "_encoding",
        "_entries",
        "_live_from",
        "_moved_at",
        "_newest",
        "_offset",
        "_past",
        "_tell_gap",
        "bounds",
        "bytes",
        "floor",
        "held",
        "outdated",
    )

    def __init__(
        self, bounds: Bounds, encoding: Encoding, now: float, tell_gap: Callable[[int, int], Frame], floor: int = 0
    ) -> None:
        self.bounds = bounds
        self._encoding = encoding
        self._tell_gap = tell_gap
        self._entries: deque[_Entry] = deque()
        self._past = 0  # entries at the front that are not to be searched for live messages
        self._dead = 0  # entries whose message was conflated; never the first one
        self._newest: dict[_Key, _Entry] = {}  # of each key, if conflating
        self._offset = 0  # bytes of the first entry that are already gone
        self._moved_at = now
        self._live_from = now
        self.bytes = 0
        self.floor = floor
        self.held = True
        self.outdated = False

    def __len__(self) -> int:
        return len(self._entries) - self._dead

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued, and no past awaited."""
        return not self.held and not len(self)

    def release(self, past: Iterable[bytes | Message], floor: int) -> int:
        """Put the past, notices and messages in order, before what came in meanwhile, and let it all leave.

        Return how many holes that were dropped meanwhile are still told: the past may hold the messages again.
        """
        self.floor, gaps = floor, 0
        waited, self._entries = self._entries, deque(_past(item) for item in past)
        self._past = len(self._entries)
        self._dead = self.bytes = 0
        for entry in waited:
            if self._outlives(entry, floor):
                self._entries.append(entry)
                self.bytes += entry.size
                gaps += entry.lost is not None
            else:
                self._forget(entry)
        self.held = False
        return gaps

    def _outlives(self, entry: _Entry, floor: int) -> bool:
        if entry.message is not None:
            return entry.message.sequence > floor
        if entry.lost is None:
            return not entry.is_dead
        first, last = entry.lost
        if first <= floor < last:  # the past holds again what was dropped here, up to the floor
            self._set_gap(entry, floor + 1, last)
        return last > floor

    def notice(self, data: bytes) -> None:
        """Queue bytes of the server's own, a notice or the end of the body: never dropped, outside the bounds."""
        self._entries.append(_Entry(data))

    def push(self, message: Message, now: float, sent: int = 0) -> Dropped:
        """Queue a live message, of which the socket already took `sent` bytes (only when nothing else waits).

        Raises Overflow when that is over the bounds and the policy ends the stream.
        """
        if message.sequence <= self.floor:
            return _NOTHING
        entry = _Entry(message.frame, message, now, len(message.frame.encoded(self._encoding)))
        self._entries.append(entry)
        self._offset += sent
        self.bytes += entry.size
        dropped = self._conflate(entry) if self.bounds.policy is SlowPolicy.CONFLATE else _NOTHING
        if self.bytes <= self.bounds.max_bytes:
            return dropped
        if self.bounds.policy is not SlowPolicy.DROP_OLDEST:
            raise Overflow(dropped)
        return self._drop_while(lambda _: self.bytes > self.bounds.max_bytes)

    def expire(self, now: float) -> Dropped:
        """Hold the backlog against the bound in age. Raises Overflow as `push` does, or when the past does not move."""
        if self.held or not self._entries:
            return _NOTHING
        first, oldest = self._entries[0], now - self.bounds.max_age
        is_live = first.live_since is not None or first.lost is not None
        if is_live and self.bounds.policy is SlowPolicy.DROP_OLDEST:
            return self._drop_while(lambda since: max(since, self._live_from) <= oldest)
        since = self._moved_at if first.live_since is None else max(first.live_since, self._live_from)
        if since <= oldest:
            raise Overflow(_NOTHING)
        return _NOTHING

    def pending(self) -> bytes:
        """Return the next bytes to write; empty: nothing may leave now."""
        if self.held or not self._entries:
            return b""
        parts, size = [], -self._offset
        for entry in self._entries:
            data = entry.encoded(self._encoding)
            parts.append(data)
            size += len(data)
            if size >= WRITE_SIZE:
                break
        parts[0] = parts[0][self._offset :]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def wrote(self, count: int, now: float) -> int:
        """Take off what the socket took; return the number of messages that went out whole with it."""
        self._moved_at = now if count else self._moved_at
        self._offset += count
        messages = 0
        while self._entries and self._offset >= len(self._entries[0].encoded(self._encoding)):
            entry = self._entries.popleft()
            self._offset -= len(entry.encoded(self._encoding))
            self._past = max(self._past - 1, 0)
            self._dead -= entry.is_dead
            self.bytes -= entry.size
            if entry.live_since is None:
                self._live_from = now
            self._forget(entry)
            messages += entry.message is not None
        return messages

    def cut(self, *, keep_begun: bool) -> int:
        """Throw all away, maybe but the rest of what is half written; return the number of messages lost.

        That rest counts for nothing any more: whoever lets go of the outbox leaves no bytes behind. Nothing is held any
        more, either: what is queued from now on, a farewell, may leave.
        """
        self.held = False
        keep = 1 if self._offset and keep_begun else 0
        lost = 0
        while len(self._entries) > keep:
            lost += self._entries.pop().message is not None
        for entry in self._entries:
            entry.live_since, entry.size = None, 0
        self._offset *= keep
        self._newest.clear()
        self.bytes = self._dead = self._past = 0
        return lost

    def _conflate(self, entry: _Entry) -> Dropped:
        key = _key(entry)
        if key is None:
            return _NOTHING
        old = self._newest.get(key)
        self._newest[key] = entry
        if old is None or (self._offset and old is self._entries[0]):
            return _NOTHING
        self.bytes -= old.size
        old.kill()
        self._dead += 1
        self._bury()
        return Dropped(messages=1)

    def _bury(self) -> None:
        """Let go of the dead at the front, whose turn it would be, and of all when they outnumber the living."""
        while self._entries[0].is_dead:
            self._entries.popleft()
            self._dead -= 1
        if 2 * self._dead > len(self._entries):
            self._entries = deque(entry for entry in self._entries if not entry.is_dead)
            self._dead = 0

    def _forget(self, entry: _Entry) -> None:
        key = _key(entry)
        if key is not None and self._newest.get(key) is entry:
            del self._newest[key]

    def _drop_while(self, wanted: Callable[[float], bool]) -> Dropped:
        messages = gaps = 0
        index = max(self._past, 1 if self._offset else 0)
        while index < len(self._entries) - 1:
            entry = self._entries[index]
            if entry.message is None or entry.live_since is None:
                index += 1
                continue
            if not wanted(entry.live_since):
                break
            del self._entries[index]
            self.bytes -= entry.size
            messages += 1
            gaps += self._note_gap(index, entry.message.sequence)
        return Dropped(messages, gaps)

    def _note_gap(self, index: int, sequence: int) -> bool:
        before = self._entries[index - 1] if index > (1 if self._offset else 0) else None
        if before is not None and before.lost is not None:
            self._set_gap(before, before.lost[0], sequence)
            return False
        entry = _Entry(b"")
        self._set_gap(entry, sequence, sequence)
        self._entries.insert(index, entry)
        return True

    def _set_gap(self, entry: _Entry, first: int, last: int) -> None:
        entry.lost = (first, last)
        entry.data = self._tell_gap(first, last).encoded(self._encoding)

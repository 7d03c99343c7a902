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


class Overflow(Exception):
    """The backlog is over a bound, and the policy is to end the stream."""


class Dropped(NamedTuple):
    """What a step threw away: `messages`, and how many holes of the stream are `gaps` told for the first time."""

    messages: int = 0
    gaps: int = 0


class _Entry:
    __slots__ = ("data", "live_since", "lost", "message")

    def __init__(self, data: bytes, message: Message | None = None, live_since: float | None = None) -> None:
        self.data = data
        self.message = message
        self.live_since = live_since  # None: not live, so it counts for nothing and stays
        self.lost: tuple[int, int] | None = None  # a gap notice: first and last sequence dropped


class Outbox:
    """A backlog of one stream.

    It begins `held`: nothing leaves before `release`, while the stream's past is fetched. Live messages up to `floor`
    are part of that past, and ignored. `tell_gap(first, last)` makes the notice for dropped sequences.
    """

    __slots__ = (
        "_bounds",
        "_encoding",
        "_entries",
        "_live_from",
        "_moved_at",
        "_offset",
        "_tell_gap",
        "bytes",
        "floor",
        "held",
    )

    def __init__(
        self, bounds: Bounds, encoding: Encoding, now: float, tell_gap: Callable[[int, int], Frame], floor: int = 0
    ) -> None:
        self._bounds = bounds
        self._encoding = encoding
        self._tell_gap = tell_gap
        self._entries: deque[_Entry] = deque()
        self._offset = 0  # bytes of the first entry that are already gone
        self._moved_at = now
        self._live_from = now
        self.bytes = 0
        self.floor = floor
        self.held = True

    def __len__(self) -> int:
        return len(self._entries)

    def release(self, past: Iterable[bytes | Message], floor: int) -> None:
        """Put the past, notices and messages in order, before what came in meanwhile, and let it all leave."""
        self.floor = floor
        live = [entry for entry in self._entries if self._outlives(entry, floor)]
        self._entries = deque(self._past(item) for item in past)
        self._entries.extend(live)
        self.bytes = sum(len(entry.data) for entry in live if entry.live_since is not None)
        self.held = False

    def _outlives(self, entry: _Entry, floor: int) -> bool:
        if entry.message is not None:
            return entry.message.sequence > floor
        if entry.lost is None:
            return True
        first, last = entry.lost
        if first <= floor < last:  # the past holds again what was dropped here, up to the floor
            self._set_gap(entry, floor + 1, last)
        return last > floor

    def _past(self, item: bytes | Message) -> _Entry:
        return _Entry(item) if isinstance(item, bytes) else _Entry(item.frame.encoded(self._encoding), item)

    def notice(self, frame: Frame) -> None:
        """Queue a notice of the server: never dropped, outside the bounds."""
        self._entries.append(_Entry(frame.encoded(self._encoding)))

    def raw(self, data: bytes) -> None:
        """Queue bytes that are no frame, such as the end of the body."""
        self._entries.append(_Entry(data))

    def push(self, message: Message, now: float, sent: int = 0) -> Dropped:
        """Queue a live message, of which the socket already took `sent` bytes (only when nothing else waits).

        Raises Overflow when that is over the bounds and the policy ends the stream.
        """
        if message.sequence <= self.floor:
            return Dropped()
        dropped = self._conflate(message) if self._bounds.policy is SlowPolicy.CONFLATE else Dropped()
        entry = _Entry(message.frame.encoded(self._encoding), message, now)
        self._entries.append(entry)
        self._offset += sent
        self.bytes += len(entry.data)
        if self.bytes <= self._bounds.max_bytes:
            return dropped
        if self._bounds.policy is not SlowPolicy.DROP_OLDEST:
            raise Overflow
        return self._drop_while(lambda _: self.bytes > self._bounds.max_bytes)

    def expire(self, now: float) -> Dropped:
        """Hold the backlog against the bound in age. Raises Overflow as `push` does, or when the past does not move."""
        if self.held or not self._entries:
            return Dropped()
        first, oldest = self._entries[0], now - self._bounds.max_age
        is_live = first.live_since is not None or first.lost is not None
        if is_live and self._bounds.policy is SlowPolicy.DROP_OLDEST:
            return self._drop_while(lambda since: max(since, self._live_from) <= oldest)
        since = self._moved_at if first.live_since is None else max(first.live_since, self._live_from)
        if since <= oldest:
            raise Overflow
        return Dropped()

    def pending(self) -> bytes:
        """Return the next bytes to write; empty: nothing may leave now."""
        if self.held or not self._entries:
            return b""
        first = self._entries[0].data[self._offset :]
        parts, size = [first], len(first)
        for index in range(1, len(self._entries)):
            if size >= WRITE_SIZE:
                break
            data = self._entries[index].data
            parts.append(data)
            size += len(data)
        return first if len(parts) == 1 else b"".join(parts)

    def wrote(self, count: int, now: float) -> int:
        """Take off what the socket took; return the number of messages that went out whole with it."""
        self._moved_at = now if count else self._moved_at
        self._offset += count
        messages = 0
        while self._entries and self._offset >= len(self._entries[0].data):
            entry = self._entries.popleft()
            self._offset -= len(entry.data)
            if entry.live_since is None:
                self._live_from = now
            else:
                self.bytes -= len(entry.data)
            messages += entry.message is not None
        return messages

    def cut(self) -> int:
        """Throw all away but the rest of what is half written; return the number of messages lost to this stream.

        That rest counts for nothing any more: whoever lets go of the outbox leaves no bytes behind.
        """
        keep = 1 if self._offset else 0
        lost = 0
        while len(self._entries) > keep:
            lost += self._entries.pop().message is not None
        for entry in self._entries:
            entry.live_since = None
        self.bytes = 0
        return lost

    def _conflate(self, message: Message) -> Dropped:
        if message.key is None:
            return Dropped()
        for index, entry in enumerate(self._entries):
            old = entry.message
            if old is None or entry.live_since is None or (index == 0 and self._offset):
                continue
            if (old.key, old.topics) == (message.key, message.topics):
                del self._entries[index]
                self.bytes -= len(entry.data)
                return Dropped(messages=1)
        return Dropped()

    def _drop_while(self, wanted: Callable[[float], bool]) -> Dropped:
        messages = gaps = 0
        index = 1 if self._offset else 0
        while index < len(self._entries) - 1:
            entry = self._entries[index]
            if entry.message is None or entry.live_since is None:
                index += 1
                continue
            if not wanted(entry.live_since):
                break
            del self._entries[index]
            self.bytes -= len(entry.data)
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

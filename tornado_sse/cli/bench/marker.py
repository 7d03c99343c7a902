"""Markers: what a message carries so that its receipt can be timed and counted. Pure.

`@<run>:<ns, 19 digits><number, 10 digits>`: the run tells our messages from others', the time is monotonic and the
same for all processes of a machine, and the number counts the messages that a stream should get, from 0.
"""

from tornado_sse.cli.bench.tally import Tally

RUN = 8
"""Characters of a run's name, all of `0-9a-f`."""

_PREFIX = RUN + 2
_TIME = _PREFIX + 19
LENGTH = _TIME + 10

MOST_MISSING = 1000
"""Messages of one stream that may still come late; when there are more, they are given up."""


def prefix(run: str) -> bytes:
    """Return what all markers of a run begin with."""
    return b"@%b:" % run.encode()


def make(begin: bytes, ns: int, number: int) -> bytes:
    """Return a marker; `begin` is the run's prefix."""
    return b"%b%019d%010d" % (begin, ns, number)


class Receiver:
    """Counts what one stream receives. Bytes may be cut anywhere."""

    __slots__ = ("_begin", "_carry", "_missing", "_next", "_tally")

    def __init__(self, begin: bytes, tally: Tally) -> None:
        self._begin = begin
        self._tally = tally
        self._carry = b""
        self._next = 0
        self._missing: set[int] = set()

    def feed(self, body: bytes, now: int) -> None:
        """Take bytes that arrived at `now`, monotonic nanoseconds."""
        buffer = self._carry + body
        at = buffer.find(self._begin)
        while 0 <= at <= len(buffer) - LENGTH:
            end = at + LENGTH
            if self._arrived(int(buffer[at + _TIME : end])):
                self._tally.last = now
                self._tally.latency.record((now - int(buffer[at + _PREFIX : at + _TIME])) // 1000)
            at = buffer.find(self._begin, end)
        self._carry = buffer[at:] if at >= 0 else self._beginning(buffer)

    def _beginning(self, buffer: bytes) -> bytes:
        tail = buffer[1 - _PREFIX :]
        at = tail.rfind(b"@")
        return tail[at:] if at >= 0 and self._begin.startswith(tail[at:]) else b""

    def _arrived(self, number: int) -> bool:
        tally = self._tally
        if number == self._next:
            self._next += 1
        elif number > self._next:
            self._skip_to(number)
        elif number in self._missing:
            self._missing.remove(number)
            tally.reordered += 1
        else:
            tally.duplicates += 1
            return False
        tally.received += 1
        return True

    def _skip_to(self, number: int) -> None:
        self._tally.gaps += 1
        skipped = range(self._next, number)
        if len(self._missing) + len(skipped) > MOST_MISSING:
            self._missing.clear()
        else:
            self._missing.update(skipped)
        self._next = number + 1

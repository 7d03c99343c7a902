"""Resume: from the last event id that a client sends, and what the broker still has, to what the client is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tornado_sse import notices
from tornado_sse.brokers.base import Past
from tornado_sse.event import Encoding, Frame, encode_position
from tornado_sse.message import Message
from tornado_sse.notices import GapReason
from tornado_sse.position import Position, parse

NOWHERE = "0"
"""A last event id that is no position, and never will be: who comes with it is told of a gap."""


class ResumeResult(StrEnum):
    """How a resume went; the metric label."""

    RECOVERED = "recovered"
    GAP = "gap"


class Request(NamedTuple):
    """What a client asks for: its position `text` if it is one of ours, and to replay after sequence `after`.

    `after` None asks for no replay. `gap` says why the position itself means a hole.
    """

    text: str | None
    after: int | None
    gap: GapReason | None = None

    @property
    def resuming(self) -> bool:
        """Whether the client comes back, rather than for the first time."""
        return self.text is not None or self.gap is not None

    @property
    def debt(self) -> str | None:
        """The last event id to send a client away with that was given nothing, so that it is still owed the same."""
        return NOWHERE if self.text is None and self.gap else self.text


def read(last_event_id: str | None, epoch: str) -> Request:
    """Judge a last event id. None or empty is a first connect; anything else resumes, and nothing is an error."""
    if not last_event_id:
        return Request(None, None)
    position = parse(last_event_id)
    if position is None:
        return Request(None, None, GapReason.UNKNOWN)
    if position.epoch != epoch:
        return Request(last_event_id, 0, GapReason.EPOCH)
    return Request(last_event_id, position.sequence)


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole: messages after `after` (None: unknown) up to `to` may be missing. `position` is where the client is."""

    after: str | None
    to: Position
    reason: GapReason
    position: Position

    def frame(self, retry: int) -> Frame:
        """Make the notice. It begins a stream, so it sets the time to reconnect, in milliseconds, as well."""
        return notices.gap(self.after, str(self.to), self.reason, position=str(self.position), retry=retry)


def find_gap(request: Request, past: Past, epoch: str) -> Gap | None:
    """Hold what was asked for against what there is."""
    if request.gap is None and request.after is None:
        return None
    now = Position(epoch, past.upto)
    if request.gap is GapReason.EPOCH:
        return Gap(request.text, Position(epoch, past.lost), GapReason.EPOCH, Position(epoch, 0))
    if request.gap is not None or request.after is None:
        return Gap(None, now, GapReason.UNKNOWN, now)
    if request.after > past.upto:
        return Gap(request.text, now, GapReason.UNKNOWN, now)
    if past.lost:
        return Gap(request.text, Position(epoch, past.lost), GapReason.EVICTED, Position(epoch, request.after))
    return None


class Start(NamedTuple):
    """How a stream starts: the broker's `epoch`, `retry` in milliseconds, and how its bytes are framed.

    `opened` are the channels that it is told to have; None: it is told nothing.
    """

    epoch: str
    retry: int
    encoding: Encoding
    opened: Sequence[str] | None = None


def opening(request: Request, past: Past, gap: Gap | None, start: Start) -> list[bytes | Message]:
    """Say what a stream begins with.

    The client's last event id never runs ahead of what it was given: on a resume the present position comes last, and
    a gap sets the id by itself, so that a client cut in the middle asks again for exactly the rest. The first block
    always has an id: by the letter of section 9.2.6 a client forgets its own at a block that comes before any.
    """
    now = str(Position(start.epoch, past.upto))
    told: list[bytes | Message] = []
    if start.opened is not None:
        told = [notices.opened(start.opened, now, position=request.debt or now).encoded(start.encoding)]
    if not request.resuming:
        return [*told, Frame(encode_position(now, retry=start.retry)).encoded(start.encoding)]
    first = gap.frame(start.retry) if gap else Frame(encode_position(str(request.text), retry=start.retry))
    last = Frame(encode_position(now))
    return [*told, first.encoded(start.encoding), *past.messages, last.encoded(start.encoding)]

"""Messages: what a publisher hands in, and what a broker hands out."""

from collections.abc import Sequence

import msgspec

from tornado_sse.event import Encoding, Frame, LabelledFrame, encode
from tornado_sse.position import Position
from tornado_sse.topic import Topic


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A message before the broker gave it a position.

    `topics` has at least one; a stream that listens to several gets the message once. `event` None is an unnamed
    event. `key` is for conflation, None: never conflated. `ttl` in seconds is how long it may be replayed, None: as
    long as history holds it, 0: never, it is for those who listen now. `idempotency_key` None: always a new message.
    `traceparent` (W3C Trace Context) is whose trace its fan-outs belong to, None: nobody's.
    """

    topics: tuple[Topic, ...]
    data: str
    event: str | None = None
    key: str | None = None
    ttl: float | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None


class Message(msgspec.Struct, eq=False, gc=False):
    """A numbered, encoded message. `accepted_at` and `expires_at` (None: by history's age alone) are monotonic."""

    sequence: int
    topics: tuple[Topic, ...]
    key: str | None
    traceparent: str | None
    accepted_at: float
    expires_at: float | None
    frame: Frame

    def labelled(self, channels: Sequence[str]) -> "Message":
        """Make its twin for streams that are to be told through which channels it came."""
        return msgspec.structs.replace(self, frame=LabelledFrame(self.frame, channels))


def number(draft: Draft, position: Position, accepted_at: float) -> Message:
    """Make a message of a draft, at the position that the broker gave it."""
    return Message(
        position.sequence,
        draft.topics,
        draft.key,
        draft.traceparent,
        accepted_at,
        None if draft.ttl is None else accepted_at + draft.ttl,
        Frame(encode(draft.data, event=draft.event, position=str(position))),
    )


class Batch(msgspec.Struct, eq=False, gc=False):
    """Messages that leave in one write, in order, and their joined bytes, made once an encoding."""

    messages: Sequence[Message]
    _payloads: dict[Encoding, bytes] = {}

    def payload(self, encoding: Encoding) -> bytes:
        """Return the bytes to write on a stream of that encoding."""
        if len(self.messages) == 1:  # its frame keeps them
            return self.messages[0].frame.encoded(encoding)
        payload = self._payloads.get(encoding)
        if payload is None:
            payload = b"".join([message.frame.encoded(encoding) for message in self.messages])
            self._payloads[encoding] = payload
        return payload

"""From what NATS carries to messages of this node."""

from collections.abc import Callable
from datetime import datetime

from tornado_sse.brokers.nats import codec
from tornado_sse.brokers.nats.codec import COMMAND, Malformed, Parcel
from tornado_sse.brokers.nats.feed import Item
from tornado_sse.brokers.nats.reader import Stored
from tornado_sse.message import Message, number
from tornado_sse.position import Position
from tornado_sse.publishing import Limits
from tornado_sse.stats import Stats


class Scribe:
    """Reads messages. `clock` is monotonic; `wall` is unix time, which the age of stored messages is taken from."""

    def __init__(self, limits: Limits, stats: Stats, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._limits = limits
        self._stats = stats
        self._clock = clock
        self._wall = wall

    def live(self, epoch: str, sequence: int, parcel: Parcel) -> Item:
        """Read what arrives now; None: it can't be read, and is counted."""
        try:
            if parcel.subject == COMMAND:
                return codec.decode_command(parcel.payload)
            return number(codec.decode(parcel, self._limits), Position(epoch, sequence), self._clock())
        except Malformed:
            self.count_malformed()
            return None

    def missed(self, epoch: str, stored: Stored) -> Item:
        """Read what should have arrived before."""
        return (
            self.live(epoch, stored.sequence, stored.parcel) if stored.subject == COMMAND else self.kept(epoch, stored)
        )

    def kept(self, epoch: str, stored: Stored) -> Message | None:
        """Read what history holds; None: its time is over, or it can't be read, which was counted when it came."""
        age = max(0.0, self._wall() - datetime.fromisoformat(stored.time).timestamp())
        now = self._clock()
        try:
            draft = codec.decode(stored.parcel, self._limits)
        except Malformed:
            return None
        message = number(draft, Position(epoch, stored.sequence), now - age)
        return None if message.expires_at is not None and message.expires_at <= now else message

    def count_malformed(self) -> None:
        """Count a message that came straight to NATS and can't be read."""
        self._stats.messages_malformed += 1

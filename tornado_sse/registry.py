"""The registry: opens and ends streams, and keeps what is kept of each: hub, keepalive, deadline, caps, log line.

One tick serves all streams: no stream has a timer of its own.
"""

import random
import socket
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tornado_sse import notices
from tornado_sse.deadlines import Deadlines
from tornado_sse.event import Encoding, Frame
from tornado_sse.fanout import Fanout
from tornado_sse.hub import Hub
from tornado_sse.log import fingerprint, logger
from tornado_sse.notices import CloseReason, GapReason
from tornado_sse.outbox import Bounds
from tornado_sse.poller import Poller
from tornado_sse.position import Position
from tornado_sse.ring import Ring
from tornado_sse.sessions import Sessions
from tornado_sse.stats import Stats
from tornado_sse.steps import SLICE, make_until
from tornado_sse.stream import Preamble, Stream
from tornado_sse.topic import allows

EXPIRY_WARNING = 30.0
"""Seconds before its token's end that a stream is warned."""

FAREWELL_TIME = 2.0
"""Seconds that a farewell may wait for a slow client."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` measures how long; `wall` is unix time, for what tokens say."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Timing:
    """`keepalive` interval and mean `retry` time in seconds; `hold` is the time of the 204 after a disconnect."""

    keepalive: float
    retry: float
    hold: float


class Registry:
    """All open streams of this node."""

    def __init__(
        self,
        bounds: Bounds,
        timing: Timing,
        clocks: Clocks,
        stats: Stats,
        schedule: Callable[[Callable[[], None]], object],
    ) -> None:
        self.bounds = bounds
        self.stats = stats
        self.poller = Poller()
        self.hub: Hub[Stream] = Hub()
        self.fanout: Fanout[Stream] = Fanout(self.hub, stats, schedule, clocks.monotonic)
        self.sessions = Sessions(timing.hold, clocks.monotonic)
        self.addresses: Counter[str] = Counter()
        self.buffered: dict[Stream, None] = {}
        self.epoch = ""
        self._clocks = clocks
        self._retry = timing.retry
        self.on_opened: Callable[[Stream], None] = _nobody
        self.on_ended: Callable[[Stream], None] = _nobody
        self._ring: Ring[Stream] = Ring(timing.keepalive, clocks.monotonic())
        self._deadlines: Deadlines[Stream] = Deadlines(clocks.wall())
        self.farewells: deque[tuple[float, Stream]] = deque()
        self._ages_checked = clocks.monotonic()
        self._chores: Iterator[None] | None = None
        self._expiring: Iterator[None] | None = None

    def open(  # noqa: PLR0913 - what a stream is made of, all by name
        self,
        connection: socket.socket,
        preamble: Preamble,
        *,
        user: str,
        session: str,
        channels: tuple[str, ...],
        labelled: bool,
        address: str,
        encoding: Encoding,
        expires_at: float,
    ) -> Stream:
        """Take a connection over. All but the end waits until `Stream.start`: live messages in the stream's outbox."""
        stream = Stream(
            connection,
            self,
            preamble,
            user=user,
            session=session,
            channels=channels,
            labelled=labelled,
            address=address,
            encoding=encoding,
            expires_at=expires_at,
        )
        self.hub.add(stream)
        self.sessions.came(user, session)
        self._ring.add(stream)
        self.addresses[address] += 1
        self._schedule_expiry(stream)
        self.stats.streams_opened += 1
        self.on_opened(stream)
        return stream

    def refresh(self, user: str, session: str, allowed: Collection[str], expires_at: float) -> float | None:
        """Lengthen those streams of the session that ask for `allowed` channels (names or patterns) alone.

        Return the last end of these, which is never earlier than it was; None if there are no such streams.
        """
        streams = [
            stream
            for stream in self.hub.session(user, session)
            if all(allows(allowed, channel) for channel in stream.channels)
        ]
        for stream in streams:
            if expires_at > stream.expires_at:  # else it would be warned again at once, and refreshed, and so on
                stream.expires_at = expires_at
                self._schedule_expiry(stream)
        return max((stream.expires_at for stream in streams), default=None)

    def disconnect(self, user: str, session: str) -> None:
        """End the session's streams for good, behind what was published to them before."""
        self.sessions.disconnect(user, session)
        self._close_all(list(self.hub.session(user, session)), CloseReason.DISCONNECTED)

    def revoke(self, user: str) -> None:
        """End all of the user's streams, behind what was published to them before."""
        self._close_all(list(self.hub.users.get(user)), CloseReason.REVOKED)

    def knows(self, user: str, session: str) -> bool:
        """Whether the session has an open stream, or had one a while ago."""
        return bool(self.hub.session(user, session)) or self.sessions.known(user, session)

    def retry(self) -> int:
        """Draw a time to reconnect in milliseconds: half to one and a half of the mean, so that clients spread."""
        return round(self._retry * 1000 * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, guards nothing

    def tick(self) -> bool:
        """Do what time asks for, for a slice at most; return whether there is more to do at once."""
        now = self._clocks.monotonic()
        self._chores = self._chores or self._do_chores(now)
        if make_until(self._chores, self._clocks.monotonic, now + SLICE):
            return True
        self._chores = None
        self._expiring = self._expiring or self._expire_due()
        if make_until(self._expiring, self._clocks.monotonic, now + SLICE):
            return True
        self._expiring = None
        return False

    def _expire_due(self) -> Iterator[None]:
        """See to ends of tokens: many may fall into one second, and nothing else is to wait for them."""
        for stream in self._deadlines.take_due(self._clocks.wall()):
            self._expire(stream)
            yield

    def _do_chores(self, now: float) -> Iterator[None]:
        """Send keepalives, see to farewells nobody took, and to ages of backlogs, stream by stream."""
        for stream in self._ring.pass_until(now):
            if not stream.is_ended:
                self.stats.keepalives_sent += stream.keepalive()
            yield
        while self.farewells and (self.farewells[0][0] <= now or self.farewells[0][1].is_closed):
            self.farewells.popleft()[1].abandon()
            yield
        if now - self._ages_checked >= min(1.0, self.bounds.max_age / 4):
            self._ages_checked = now
            for stream in list(self.buffered):
                stream.check_age()
                yield
            self.sessions.purge()

    def abandon_all(self) -> None:
        """Close every socket at once, without farewell."""
        for stream in list(self.hub.streams):
            stream.close(CloseReason.DRAINING, self.retry())
            stream.abandon()
        for _, stream in self.farewells:
            stream.abandon()
        self.farewells.clear()

    def now(self) -> float:
        """Return the monotonic time."""
        return self._clocks.monotonic()

    def completed(self) -> int:
        """Return the highest sequence that fan-out has wholly handed to the streams."""
        return self.fanout.completed

    def tell_gap(self, first: int, last: int) -> Frame:
        """Make the notice that the stream's messages from `first` to `last` were dropped."""
        after = str(Position(self.epoch, first - 1))
        return notices.gap(after, str(Position(self.epoch, last)), GapReason.SLOW)

    def ended(self, stream: Stream, reason: CloseReason) -> None:
        """Forget a stream that ended."""
        self.hub.remove(stream)
        self._ring.discard(stream)
        self._deadlines.discard(stream)
        self.addresses[stream.address] -= 1
        if not self.addresses[stream.address]:
            del self.addresses[stream.address]
        if reason is not CloseReason.DISCONNECTED and not self.hub.session(stream.user, stream.session):
            self.sessions.left(stream.user, stream.session)
        self.on_ended(stream)
        duration = self.now() - stream.opened_at
        self.stats.streams_closed[reason.value] += 1
        self.stats.stream_duration.observe(duration)
        logger().info(
            "stream closed",
            session=fingerprint(stream.session),
            user=stream.user,
            address=stream.address,
            channels=len(stream.channels),
            reason=reason.value,
            duration=round(duration, 3),
            messages=stream.sent,
        )

    def lingering(self, stream: Stream) -> None:
        """Close the stream soon, even if its farewell never leaves."""
        self.farewells.append((self.now() + FAREWELL_TIME, stream))

    def _close_all(self, streams: Sequence[Stream], reason: CloseReason) -> None:
        if streams:
            self.fanout.afterwards(lambda: map(partial(Stream.close, reason=reason), streams))

    def _schedule_expiry(self, stream: Stream) -> None:
        self._deadlines.set(stream, stream.expires_at - EXPIRY_WARNING)

    def _expire(self, stream: Stream) -> None:
        left = stream.expires_at - self._clocks.wall()
        if left <= 0:
            stream.close(CloseReason.EXPIRED)
            return
        self._deadlines.set(stream, stream.expires_at)  # first: the notice may find the socket broken
        stream.notice(notices.expiring(left))


def _nobody(_: Stream) -> None:
    """Tell nobody."""

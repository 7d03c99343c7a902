"""A stream: one open response, a socket and a small object. The only place that reads from or writes to its socket.

A stream is open, then ended (nothing more is delivered; a farewell may still be leaving), then closed. An open one is
live, written to directly, or has an outbox: *held* while its past is fetched, *backlogged* while bytes wait for the
socket, *idle* while none do but fan-out has yet to come to where its past ended.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from tornado_sse import notices
from tornado_sse.event import KEEPALIVE, LAST_CHUNK, Encoding, Frame
from tornado_sse.message import Batch, Message
from tornado_sse.notices import CloseReason
from tornado_sse.outbox import Bounds, Dropped, Outbox, Overflow
from tornado_sse.poller import Poller
from tornado_sse.stats import Stats

WRITES = 16
"""Writes to one socket before others get their turn."""

_scratch = bytearray(65536)


Preamble = tuple[bytes, str | None]
"""What is said before anything else, the head of the answer; and the client's debt, the last event id that it came with
and must leave with if it is given nothing (None: none). A plain tuple, for each connect makes one.
"""


class Owner(Protocol):
    """What streams share, and whom they tell."""

    stats: Stats
    poller: Poller
    bounds: Bounds
    buffered: "dict[Stream, None]"
    """Those with an outbox."""

    def now(self) -> float:
        """Return the monotonic time."""

    def completed(self) -> int:
        """Return the highest sequence that fan-out has wholly handed to the streams."""

    def retry(self) -> int:
        """Draw a time to reconnect in milliseconds."""

    def tell_gap(self, first: int, last: int) -> Frame:
        """Make the notice that the stream's messages from `first` to `last` were dropped."""

    def ended(self, stream: "Stream", reason: CloseReason) -> None:
        """Forget the stream: it ended."""

    def lingering(self, stream: "Stream") -> None:
        """See to it that the stream is closed soon, even if its farewell never leaves."""


class Stream:
    """One open stream. `sent` counts messages handed to the kernel; `expires_at` is unix time.

    `labelled`: it is told through which of its channels a message came.
    """

    __slots__ = (
        "_owner",
        "_preamble",
        "_socket",
        "_waiting",
        "address",
        "channels",
        "due",
        "encoding",
        "expires_at",
        "is_ended",
        "labelled",
        "opened_at",
        "outbox",
        "send",
        "sent",
        "session",
        "slot",
        "user",
    )

    def __init__(  # noqa: PLR0913 - what a stream is made of, all by name
        self,
        connection: socket.socket,
        owner: Owner,
        preamble: Preamble,
        *,
        user: str,
        session: str,
        channels: tuple[str, ...],
        labelled: bool,
        address: str,
        encoding: Encoding,
        expires_at: float,
    ) -> None:
        self._socket = connection
        self._owner = owner
        self._preamble: Preamble | None = preamble  # None: it was said
        self._waiting = False
        self.send: Callable[[bytes], int] = connection.send
        self.user = user
        self.session = session
        self.channels = channels
        self.labelled = labelled
        self.address = address
        self.encoding = encoding
        self.expires_at = expires_at
        self.opened_at = owner.now()
        self.due = 0
        self.slot = 0
        self.sent = 0
        self.is_ended = False
        owner.poller.add(connection.fileno(), self)
        self.outbox: Outbox | None = self._new_outbox(self.opened_at)

    def start(self, past: Sequence[bytes | Message], floor: int) -> None:
        """Write what the stream begins with, behind its preamble; from then on messages above `floor` come live."""
        outbox, preamble = self.outbox, self._preamble
        if outbox is None or preamble is None:
            return
        if outbox.outdated:
            self.close(CloseReason.LIMIT)
            return
        self._preamble = None
        notices = [item for item in past if isinstance(item, bytes)]
        if len(notices) == len(past) and not len(outbox) and self._owner.completed() >= floor:
            self._drop_outbox()  # as most begin: nothing was missed, and nothing came in meanwhile
            self._write(b"".join((preamble[0], *notices)))
            return
        before = outbox.bytes
        self._count_gaps(outbox.release((preamble[0], *past), floor))
        self._owner.stats.outbox_bytes += outbox.bytes - before
        self._flush(outbox)

    def backlog(self, batch: Batch, sent: int) -> None:
        """Keep what the socket did not take of a batch, after its first `sent` bytes."""
        if self.is_ended:
            return
        outbox, messages = self._backlog_outbox(), iter(batch.messages)
        before = outbox.bytes
        try:
            self._push(outbox, messages, sent)
        except Overflow as overflow:
            self._owner.stats.outbox_bytes += outbox.bytes - before
            self._count(outbox, overflow.dropped)
            self._lose(sum(1 for _ in messages))
            self.close(CloseReason.SLOW)
            return
        self._owner.stats.outbox_bytes += outbox.bytes - before
        if not self._waiting:
            self._flush(outbox)

    def send_failed(self, batch: Batch, error: OSError) -> None:
        """Judge an error of `send`: a full socket makes a backlog, any other ends the stream."""
        if isinstance(error, BlockingIOError):
            self.backlog(batch, 0)
        elif not self.is_ended:
            self._lose(len(batch.messages))
            self.close(CloseReason.WRITE_ERROR)

    def notice(self, frame: Frame) -> None:
        """Send a notice of the server, after all that waits."""
        if not self.is_ended:
            self._write(frame.encoded(self.encoding))

    def keepalive(self) -> bool:
        """Send a comment, unless the stream is held, or bytes are waiting anyway; return whether it was sent."""
        if self.outbox is not None and not self.outbox.is_idle:
            return False
        self._write(KEEPALIVE.encoded(self.encoding))
        return True

    def check_age(self) -> None:
        """Hold the backlog against the bound in age, and go back to direct writes where none is left."""
        outbox = self.outbox
        if outbox is None or self.is_ended:
            return
        before = outbox.bytes
        try:
            dropped = outbox.expire(self._owner.now())
        except Overflow:
            self.close(CloseReason.SLOW)
            return
        self._owner.stats.outbox_bytes += outbox.bytes - before
        self._count(outbox, dropped)
        if outbox.is_idle:
            self._settle(outbox)

    def close(self, reason: CloseReason, retry: int | None = None) -> None:
        """End the stream, with a farewell where we are the ones to close. `retry` in milliseconds goes with it.

        A held one gets a whole answer all the same: of none a proxy makes a 502, and EventSource gives up for good.
        """
        if self.is_ended:
            return
        self.is_ended = True
        if self.outbox is not None and (reason is CloseReason.SLOW or not reason.ours or self.outbox.held):
            self._cut(self.outbox, keep_begun=True)
        self._owner.ended(self, reason)
        if not reason.ours:
            self.abandon()
            return
        self._write(self._last_bytes(reason, retry))
        if self.outbox is None:
            self.abandon()
        else:
            self._owner.lingering(self)

    @property
    def is_closed(self) -> bool:
        """Whether the socket is closed."""
        return self._socket.fileno() < 0

    def abandon(self) -> None:
        """Close the socket, whatever still waits. Doing so again does nothing."""
        if self.is_closed:
            return
        if self.outbox is not None:
            self._cut(self.outbox, keep_begun=False)
            self._drop_outbox()
        self._owner.stats.backlogged_streams -= self._waiting
        self._owner.poller.remove(self._socket.fileno())
        with suppress(OSError):  # bytes left unread would turn the close into a reset, which overtakes the farewell
            self._socket.recv_into(_scratch)
        self._socket.close()

    def readable(self) -> None:
        """Throw away what the client sends; its end is the stream's."""
        try:
            if self._socket.recv_into(_scratch):
                return
        except BlockingIOError:
            return
        except TimeoutError:  # TCP_USER_TIMEOUT: what we sent was never acknowledged
            reason = CloseReason.WRITE_ERROR
        except OSError:
            reason = CloseReason.CLIENT_GONE
        else:
            reason = CloseReason.CLIENT_GONE
        self.close(reason)
        self.abandon()

    def writable(self) -> None:
        """Go on with the backlog."""
        if self.outbox is not None:
            self._flush(self.outbox)

    def _new_outbox(self, now: float) -> Outbox:
        self._owner.buffered[self] = None
        return Outbox(self._owner.bounds, self.encoding, now, self._owner.tell_gap)

    def _drop_outbox(self) -> None:
        self.outbox = None
        del self._owner.buffered[self]

    def _backlog_outbox(self) -> Outbox:
        if self.outbox is None:
            self.outbox = self._new_outbox(self._owner.now())
            self.outbox.release((), 0)
            self._want_write(wanted=True)
        return self.outbox

    def _last_bytes(self, reason: CloseReason, retry: int | None) -> bytes:
        """Make the farewell and the end of the body, behind the preamble if that was never said."""
        preamble, self._preamble = self._preamble, None
        if preamble is None:
            head, farewell = b"", notices.closing(reason, retry)
        else:
            head, debt = preamble
            farewell = notices.closing(reason, retry or self._owner.retry(), position=debt)
        body = farewell.encoded(self.encoding)
        return head + (body if self.encoding is Encoding.BARE else body + LAST_CHUNK)

    def _push(self, outbox: Outbox, messages: Iterator[Message], sent: int) -> None:
        now = self._owner.now()
        for message in messages:
            if sent and sent >= (size := len(message.frame.encoded(self.encoding))):
                sent -= size
                self._count_delivered(1)
                continue
            self._count(outbox, outbox.push(message, now, sent))
            sent = 0

    def _write(self, data: bytes) -> None:
        if self.outbox is not None:
            self.outbox.notice(data)
            if not self._waiting:
                self._flush(self.outbox)
            return
        try:
            sent = self.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._broken()
            return
        self._owner.stats.bytes_sent += sent
        if sent < len(data):
            self._backlog_outbox().notice(data[sent:])

    def _flush(self, outbox: Outbox) -> None:
        stats = self._owner.stats
        for _ in range(WRITES):
            data = outbox.pending()
            if not data:
                self._settle(outbox)
                return
            try:
                sent = self.send(data)
            except BlockingIOError:
                break
            except OSError:
                self._broken()
                return
            before = outbox.bytes
            self._count_delivered(outbox.wrote(sent, self._owner.now()))
            stats.outbox_bytes += outbox.bytes - before
            stats.bytes_sent += sent
            if sent < len(data):
                break
        self._want_write(wanted=True)

    def _settle(self, outbox: Outbox) -> None:
        """Nothing is left to write: close if ended, else go live once fan-out is past the floor."""
        self._want_write(wanted=False)
        if self.is_ended:
            self.abandon()
        elif outbox.is_idle and self._owner.completed() >= outbox.floor:
            self._drop_outbox()

    def _broken(self) -> None:
        self.close(CloseReason.WRITE_ERROR)
        self.abandon()

    def _want_write(self, *, wanted: bool) -> None:
        if self._waiting is not wanted:
            self._waiting = wanted
            self._owner.stats.backlogged_streams += 1 if wanted else -1
            self._owner.poller.watch(self._socket.fileno(), reading=True, writing=wanted)

    def _cut(self, outbox: Outbox, *, keep_begun: bool) -> None:
        before = outbox.bytes
        self._lose(outbox.cut(keep_begun=keep_begun))
        self._owner.stats.outbox_bytes += outbox.bytes - before

    def _lose(self, messages: int) -> None:
        self._owner.stats.messages_dropped["closed"] += messages

    def _count_delivered(self, messages: int) -> None:
        self.sent += messages
        self._owner.stats.messages_delivered += messages

    def _count(self, outbox: Outbox, dropped: Dropped) -> None:
        stats = self._owner.stats
        if dropped.messages:
            stats.messages_dropped[outbox.bounds.policy.value] += dropped.messages
        if dropped.gaps and not outbox.held:  # a held one tells of them, or not, when it is released
            self._count_gaps(dropped.gaps)

    def _count_gaps(self, gaps: int) -> None:
        if gaps:
            self._owner.stats.gaps[notices.GapReason.SLOW.value] += gaps

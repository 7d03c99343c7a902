"""The wire format of event streams (WHATWG HTML section 9.2), encoding side.

Everything that turns a message into bytes lives here. A frame's encoded bytes are made once and shared by all streams.
"""

import re
import zlib
from collections.abc import Iterable, Sequence
from enum import IntEnum

RESERVED_PREFIX = "stream-"
"""Event names that only the server itself sends."""

MAX_EVENT_NAME = 128

_UNSAFE = re.compile(r"[\r\n\x00\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n|\r|\n")


class Encoding(IntEnum):
    """How a stream's bytes are framed by HTTP."""

    CHUNKED = 0
    """HTTP/1.1, one chunk a frame."""
    BARE = 1
    """HTTP/1.0: the end of the connection ends the body."""
    GZIP = 2
    """HTTP/1.1 with `Content-Encoding: gzip`: a frame is one chunk of an independent deflate block."""


class Frame:
    """The encoded bytes of an event or a comment. Held as a chunk, the form nearly every stream wants."""

    __slots__ = ("_gzip", "chunk")

    def __init__(self, body: bytes) -> None:
        self.chunk = to_chunk(body)
        self._gzip: bytes | None = None

    def encoded(self, encoding: Encoding) -> bytes:
        """Return the bytes to write on a stream of that encoding."""
        if encoding is Encoding.CHUNKED:
            return self.chunk
        if encoding is Encoding.BARE:
            return self.body
        if self._gzip is None:
            self._gzip = to_chunk(_deflate(self.body))
        return self._gzip

    @property
    def body(self) -> bytes:
        """The event itself, without HTTP's framing."""
        return self.chunk[self.chunk.index(b"\n") + 1 : -2]


class LabelledFrame(Frame):
    """A frame that says first through which channels it came. Made when it is written: many may wait, and few leave."""

    __slots__ = ("_labels", "_made", "_plain")

    def __init__(self, plain: Frame, channels: Sequence[str]) -> None:
        self._plain = plain
        self._labels = channels
        self._made: bytes | None = None
        self._gzip = None

    @property
    def chunk(self) -> bytes:  # type: ignore[override]  # nobody sets it
        """The frame as a chunk."""
        if self._made is None:
            self._made = to_chunk(encode_labels(self._labels) + self._plain.body)
        return self._made


def to_chunk(body: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112 section 7.1); `body` must not be empty, an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def _deflate(body: bytes) -> bytes:
    # A full flush forgets the window and ends on a byte, so that the block fits at any place of any stream (RFC 1951).
    compressor = zlib.compressobj(level=6, wbits=-zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush(zlib.Z_FULL_FLUSH)


GZIP_HEADER = to_chunk(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
"""First bytes of a gzip stream (RFC 1952 section 2.3): no name, no time, unknown system. It is never ended by a
checksum, which would differ from stream to stream; decoders that read event by event do not miss it."""

LAST_CHUNK = b"0\r\n\r\n"

KEEPALIVE = Frame(b":\n\n")
"""A comment: dispatches nothing, keeps proxies and the client's watchdog content."""


def name_problem(name: str) -> str | None:
    """What is wrong with an event name from a publisher, or None. CR and LF would end the field early."""
    if not name:
        return "must not be empty"
    if len(name) > MAX_EVENT_NAME:
        return f"must be at most {MAX_EVENT_NAME} characters long"
    if _UNSAFE.search(name):
        return "must not contain CR, LF, NUL or lone surrogates"
    if name.startswith(RESERVED_PREFIX):
        return f"must not begin with {RESERVED_PREFIX}, which is reserved for the server"
    return None


def encode(data: str, *, event: str | None = None, position: str | None = None, retry: int | None = None) -> bytes:
    """Encode one event. `retry` is in milliseconds; None leaves a field out.

    CR, LF and CRLF in `data` end a line and arrive as LF (section 9.2.6). Raises UnicodeEncodeError for lone
    surrogates. `event` and `position` must be free of line ends: `name_problem` says so for a publisher's.

    The id comes last: @microsoft/fetch-event-source resumes behind an id as soon as it was read, and would never get
    an event that was cut in the middle.
    """
    if event is None and retry is None and position is not None and "\n" not in data and "\r" not in data:
        return f"data: {data}\nid: {position}\n\n".encode()  # as nearly all are
    lines = [] if retry is None else [f"retry: {retry}\n"]
    if event is not None:
        lines.append(f"event: {event}\n")
    if "\n" in data or "\r" in data:
        lines.extend(f"data: {line}\n" for line in _LINE_END.split(data))
    else:
        lines.append(f"data: {data}\n")
    if position is not None:
        lines.append(f"id: {position}\n")
    lines.append("\n")
    return "".join(lines).encode()


def encode_labels(channels: Iterable[str]) -> bytes:
    """Encode the fields that name channels. To a parser that knows them not they are nothing (section 9.2.6)."""
    return "".join([f"channel: {name}\n" for name in channels]).encode()


def encode_position(position: str, *, retry: int | None = None) -> bytes:
    """Encode a block without data: sets the client's last event id, and its retry time, but dispatches nothing."""
    return (f"id: {position}\n\n" if retry is None else f"retry: {retry}\nid: {position}\n\n").encode()

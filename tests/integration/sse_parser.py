"""The reading side of an event stream, written from the standard for the tests alone: HTTP, then WHATWG section 9.2.6.

Both take bytes cut anywhere and give what these complete, so that a test can end a connection at any byte.
"""

import codecs
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

_LINE_END = re.compile(r"\r\n|\r|\n")
_GZIP = 16 + zlib.MAX_WBITS


class Response:
    """An HTTP response: its bytes in, those of its body out, without chunks and without gzip.

    `ended`: all that it announced has come, though the connection may stay.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self._buffer = b""
        self.ended = False
        self._left = 0  # bytes of the body, or of the chunk that is being read with its line end
        self._inflate = zlib.decompressobj(_GZIP)

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        if self.status is None:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return b""
            self._read_head(head.decode("latin-1"))
            self._buffer = rest
        body = self._dechunk() if "transfer-encoding" in self.headers else self._take()
        return self._inflate.decompress(body) if "content-encoding" in self.headers else body

    def _read_head(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._left = int(self.headers.get("content-length", 0))

    def _take(self) -> bytes:
        body, self._buffer = self._buffer, b""
        if "content-length" in self.headers:
            self._left -= len(body)
            self.ended = self._left <= 0
        return body

    def _dechunk(self) -> bytes:
        data, at, parts = self._buffer, 0, []
        while at < len(data):
            if not self._left:
                end = data.find(b"\r\n", at)
                if end < 0:
                    break
                self._left = int(data[at:end], 16) + 2
                self.ended = self._left == len(b"\r\n")
                at = end + 2
            part = data[at : at + self._left]
            parts.append(part[: max(self._left - 2, 0)])
            at += len(part)
            self._left -= len(part)
        self._buffer = data[at:]
        return b"".join(parts)


class Block(NamedTuple):
    """What a blank line ended: `id` None if it set none, `data` None if nothing is dispatched."""

    name: str
    data: str | None
    id: str | None


class Parser:
    """One stream's blocks. `last_event_id` is what EventSource would send to resume, `retry` when, in milliseconds.

    It is the standard to the letter: the id buffer of a new stream is empty, so a block that ends before any id came
    makes the client forget its position. Browsers are milder.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._rest = ""
        self._after_cr = False
        self._id_buffer = ""
        self._start_block()

    def _start_block(self) -> None:
        self._name = "message"
        self._data: list[str] = []
        self._id: str | None = None

    def feed(self, chunk: bytes) -> Iterator[Block]:
        text = self._decode(chunk)
        if not text:
            return
        if self._after_cr:
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        *lines, self._rest = _LINE_END.split(self._rest + text)
        for line in lines:
            if line:
                self._field(*line.partition(":")[::2])
            else:
                yield self._end()

    def _field(self, name: str, value: str) -> None:
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value or "message"
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = self._id_buffer = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self.retry = int(value)

    def _end(self) -> Block:
        self.last_event_id = self._id_buffer
        block = Block(self._name, "\n".join(self._data) if self._data else None, self._id)
        self._start_block()
        return block

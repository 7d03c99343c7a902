"""HTTP/1.1 as far as a load generator speaks it (RFC 9112). Pure: bytes in, bytes out."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from tornado_sse.cli.client import refusal

_HEAD_END = b"\r\n\r\n"


class BadAnswer(Exception):
    """What arrived is no HTTP; the text says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers of an answer; header names in lower case."""

    status: int
    headers: dict[str, str]

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int | None:
        """How many bytes the body has, None: not said. Raises BadAnswer."""
        text = self.headers.get("content-length")
        if text is None:
            return None
        if not text.isdecimal():
            raise BadAnswer("the length of the answer is malformed")
        return int(text)

    @property
    def is_event_stream(self) -> bool:
        """Whether what follows is an event stream."""
        return self.headers.get("content-type", "").partition(";")[0].strip() == "text/event-stream"

    def explain(self, body: bytes) -> str:
        """Say what the server answered."""
        return refusal(httpx.Response(self.status, content=body))


def request(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Spell a request. Values must be free of line ends."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def split_head(data: bytes) -> tuple[Head, bytes] | None:
    """Part an answer's head from what follows; None if it is not all there yet. Raises BadAnswer."""
    head, end, rest = data.partition(_HEAD_END)
    if not end:
        return None
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, status = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not status[:3].isdecimal():
        raise BadAnswer("the answer is no HTTP")
    pairs = (line.partition(":") for line in lines)
    return Head(int(status[:3]), {name.lower(): value.strip() for name, _, value in pairs}), rest


class Body:
    """Decodes a body. `ended` once it is whole: then `rest` is what came behind it."""

    __slots__ = ("_chunked", "_left", "_skip", "ended", "rest")

    def __init__(self, *, chunked: bool, length: int | None = None) -> None:
        self._chunked = chunked
        self._left = length
        self._skip = 0
        self.ended = length == 0 and not chunked
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes and return those of the content. Raises BadAnswer."""
        if self._chunked:
            return self._dechunk(self.rest + data)
        if self._left is None:
            return data
        content, self.rest = data[: self._left], data[self._left :]
        self._left -= len(content)
        self.ended = self._left == 0
        return content

    def _dechunk(self, data: bytes) -> bytes:
        parts = []
        at = 0
        left = self._left or 0
        while at < len(data) and not self.ended:
            if left:
                piece = data[at : at + left]
                parts.append(piece)
                at += len(piece)
                left -= len(piece)
                self._skip = 0 if left else 2
            elif self._skip:
                skipped = min(self._skip, len(data) - at)
                self._skip -= skipped
                at += skipped
            else:
                end = data.find(b"\r\n", at)
                if end < 0:
                    break
                left = _chunk_size(data[at:end])
                if left == 0:
                    end = data.find(_HEAD_END, at)  # trailers, of which there may be none
                    if end < 0:
                        break
                    self.ended = True
                    end += 2
                at = end + 2
        self._left = left
        self.rest = data[at:]
        return b"".join(parts)


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise BadAnswer("the chunks of the answer are malformed") from None


class Answers:
    """Reads the answers on a connection that requests are sent on one behind the other."""

    def __init__(self) -> None:
        self._data = b""
        self._head: Head | None = None
        self._body = Body(chunked=False)
        self._content: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[tuple[Head, bytes]]:
        """Take bytes and yield the answers that they complete. Raises BadAnswer."""
        self._data += data
        while True:
            if self._head is None:
                found = split_head(self._data)
                if found is None:
                    return
                self._head, self._data = found
                self._body = Body(chunked=self._head.chunked, length=self._head.length or 0)
                self._content = []
            self._content.append(self._body.feed(self._data))
            self._data = b""
            if not self._body.ended:
                return
            head, self._head, self._data = self._head, None, self._body.rest
            yield head, b"".join(self._content)

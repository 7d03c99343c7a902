"""A client that sees every byte, and reads only when it is told to."""

import asyncio
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

DEADLINE = 30.0
"""Seconds until a condition that does not come true fails its test."""


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; the loop turns meanwhile."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.001)


@dataclass
class Response:
    """The head of an answer, and of one with a known length the body; header names in lower case."""

    status: int
    headers: dict[str, str]
    version: str
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Block:
    """One block of an event stream, up to its blank line."""

    fields: dict[str, str] = field(default_factory=dict)
    comment: bool = False

    @property
    def data(self) -> str | None:
        return self.fields.get("data")

    @property
    def event(self) -> str | None:
        return self.fields.get("event")

    @property
    def id(self) -> str | None:
        return self.fields.get("id")

    @property
    def retry(self) -> int | None:
        return int(self.fields["retry"]) if "retry" in self.fields else None

    def json(self) -> Any:
        return json.loads(self.fields["data"])


def parse_block(text: str) -> Block:
    block = Block()
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            block.comment = True
        else:
            block.fields[name] = f"{block.fields[name]}\n{value}" if name in block.fields else value
    return block


class _Body:
    """Takes a body's transfer and content codings off, strictly, as it comes."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.chunked = headers.get("transfer-encoding") == "chunked"
        self._inflate = zlib.decompressobj(31) if headers.get("content-encoding") == "gzip" else None
        self._raw = b""
        self.complete = False

    def feed(self, data: bytes) -> str:
        assert not self.complete, f"bytes behind the end of the body: {data!r}"
        self._raw += data
        plain = b"".join(self._chunks()) if self.chunked else self._take_all()
        return (self._inflate.decompress(plain) if self._inflate else plain).decode()

    def _take_all(self) -> bytes:
        plain, self._raw = self._raw, b""
        return plain

    def _chunks(self) -> Iterator[bytes]:
        while b"\r\n" in self._raw:
            head, _, rest = self._raw.partition(b"\r\n")
            size = int(head, 16)
            if len(rest) < size + 2:
                return
            assert rest[size : size + 2] == b"\r\n", f"a chunk of {size} does not end where it should"
            self._raw = rest[size + 2 :]
            if size == 0:
                self.complete = True
                assert not self._raw
                return
            yield rest[:size]


class Client:
    """A client on a socket of its own, which reads only when it is told to. Every wait has a deadline."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = b""
        self._text = ""
        self._body: _Body | None = None
        self.received = 0
        self.ended = False

    @classmethod
    async def to(cls, port: int, receive_buffer: int | None = None) -> "Client":
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(DEADLINE):
                await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(DEADLINE):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def request(
        self, target: str, headers: dict[str, str] | None = None, *, method: str = "GET", version: str = "1.1"
    ) -> None:
        lines = [f"{method} {target} HTTP/{version}", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def read(self) -> bytes:
        """Read what is there, at least a byte; empty at the end."""
        async with asyncio.timeout(DEADLINE):
            data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
        self.received += len(data)
        return data

    async def read_all(self) -> bytes:
        """Read to the end, raw; a reset is an end too."""
        data = self._buffer
        with suppress(ConnectionError):
            while more := await self.read():
                data += more
        return data

    async def response(self, *, to_head: bool = False) -> Response:
        """Read the head of an answer, and its body if its length is known, but none in answer to HEAD."""
        while b"\r\n\r\n" not in self._buffer:
            more = await self.read()
            assert more, f"the connection ended within the head: {self._buffer!r}"
            self._buffer += more
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = status_line.split(" ", 2)
        headers: dict[str, str] = {}
        for line in lines:
            name, value = line.split(": ", 1)
            headers[name.lower()] = ", ".join(filter(None, (headers.get(name.lower()), value)))
        response = Response(int(status), headers, version)
        length = 0 if to_head else int(response.headers.get("content-length", "0"))
        while len(rest) < length:
            more = await self.read()
            assert more, "the connection ended within the body"
            rest += more
        response.body, self._buffer = rest[:length], rest[length:]
        return response

    async def streaming(self) -> Response:
        """Read the head of an answer that is an event stream."""
        response = await self.response()
        assert response.status == 200, response
        assert response.headers["content-type"] == "text/event-stream"
        self._body = _Body(response.headers)
        rest, self._buffer = response.body + self._buffer, b""
        self._take(rest)
        self.ended = "content-length" in response.headers
        return response

    def _take(self, data: bytes) -> None:
        assert self._body is not None
        if data:
            self._text += self._body.feed(data)

    async def block(self) -> Block | None:
        """Read the next block of the stream; None at its end."""
        while "\n\n" not in self._text:
            if self.ended:
                return None
            data = await self.read()
            self._take(data)
            self.ended = not data
        text, _, self._text = self._text.partition("\n\n")
        return parse_block(text)

    async def next_block(self) -> Block:
        """Read the next block, which must come."""
        block = await self.block()
        assert block is not None, "the stream ended"
        return block

    async def event(self) -> Block:
        """Read the next block that a browser would dispatch."""
        while (block := await self.next_block()).data is None:
            pass
        return block

    async def data(self) -> str:
        """Read the data of the next event."""
        return (await self.event()).fields["data"]

    async def rest(self) -> list[Block]:
        """Read the rest of the stream, which must end rightly."""
        blocks = []
        while (block := await self.block()) is not None:
            blocks.append(block)
        assert self._body is not None
        assert self._text == ""
        assert self._body.complete or not self._body.chunked, "the body was not brought to its end"
        return [block for block in blocks if block.data is not None]

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Go without a goodbye: the server sees a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

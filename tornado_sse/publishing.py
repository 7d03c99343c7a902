"""Publishing: from a request's body to drafts. Bad items are named by their index; the good ones go.

An item is `{"to": ..., "data": ..., "event"?, "idempotencyKey"?, "ttl"?, "key"?}`. `data` is any JSON: a string goes as
it is, anything else as the JSON text that was sent, untouched.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any

import msgspec

from tornado_sse import event, topic
from tornado_sse.message import Draft
from tornado_sse.unreadable import UNREADABLE, explain

MAX_TTL = 31_536_000.0
"""Longest `ttl` in seconds: a year. History's own bounds come first."""

LINE_PREFIX = len("data: ")
"""Bytes that each further line of data costs. They count: a frame must not be many times what was sent."""

SPELLING = len(r"\u0041")
"""Bytes of JSON that can spell one byte of data, at most."""

REST = 1_048_576
"""Bytes of JSON that all but the data of an item can take: mostly a hundred targets, of a user and a session each."""

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Ttl = Annotated[float, msgspec.Meta(ge=0, le=MAX_TTL)]


class PublishResult(StrEnum):
    """What became of a message that was handed in; the metric label."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"


class Item(msgspec.Struct, forbid_unknown_fields=True, rename={"idempotency_key": "idempotencyKey"}):
    """One message as it is sent to us."""

    to: Any
    data: msgspec.Raw
    event: str | None = None
    idempotency_key: Key | None = None
    ttl: Ttl | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Most bytes of one message's data, and most messages of one request."""

    message_bytes: int
    items: int


class BadItem(ValueError):
    """An item that can't be published; the text is fit for the publisher."""


class BadBody(ValueError):
    """A body without readable items; the text is fit for the publisher."""


_item = msgspec.json.Decoder(Item)
_string = msgspec.json.Decoder(str)
_array = msgspec.json.Decoder(list[msgspec.Raw])
_LINE = re.compile(rb"[^ \t\r\n][^\n]*")


def split_json(body: bytes, most: int) -> tuple[list[bytes], bool]:
    """Split a JSON body into items; also tell whether it is an array. Raises BadBody, also for more than `most`."""
    if not body.lstrip().startswith(b"["):
        return [body], False
    try:
        if body.count(b",") < most:
            return [bytes(item) for item in _array.decode(body)], True
        return [bytes(item) for item in msgspec.structs.astuple(_bounded(most).decode(body)) if item is not None], True
    except msgspec.ValidationError:
        raise _too_many(most) from None
    except UNREADABLE as error:
        raise BadBody(explain(error)) from error


@lru_cache(maxsize=1)
def _bounded(most: int) -> msgspec.json.Decoder[msgspec.Struct]:
    """Read an array as far as `most` items: a list is read whole, however long, before its length is looked at."""
    fields = [(f"item{number}", msgspec.Raw, None) for number in range(most)]
    return msgspec.json.Decoder(msgspec.defstruct("Items", fields, array_like=True, forbid_unknown_fields=True))


def split_lines(body: bytes, most: int) -> list[bytes]:
    """Split an NDJSON body into items: one JSON text a line, ended by LF or CRLF; empty lines count for nothing.

    Of more than `most` not all are returned, but too many.
    """
    *lines, rest = body.split(b"\n", most)
    more = (line[0] for line in _LINE.finditer(rest))
    return [*(line for line in lines if line.strip(b" \t\r")), *islice(more, most + 1)]


def read_items(items: list[bytes], limits: Limits) -> Iterator[Draft | BadItem]:
    """Read each item by itself. Raises BadBody if there are none, or too many."""
    if not items:
        raise BadBody("there is no message in the body")
    if len(items) > limits.items:
        raise _too_many(limits.items)
    most = limits.message_bytes * SPELLING + REST
    return (_try_read(item, most, limits) for item in items)


def _too_many(most: int) -> BadBody:
    return BadBody(f"too many messages in one request; at most {most} are allowed")


def _try_read(raw: bytes, most: int, limits: Limits) -> Draft | BadItem:
    if len(raw) > most:
        return BadItem(f"the message takes {len(raw)} bytes of JSON; at most {most} are read")
    try:
        item = _item.decode(raw)
        return make_draft(item, _text(bytes(item.data)), limits)
    except UNREADABLE as error:
        return BadItem(explain(error))
    except BadItem as bad:
        return bad


def read_fields(fields: dict[str, object], data: object, limits: Limits) -> Draft:
    """Read a message that comes from within the process, by the same rules. Raises BadItem."""
    try:
        text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
        return make_draft(msgspec.convert({**fields, "data": msgspec.Raw()}, Item), text, limits)
    except BadItem:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise BadItem(explain(error)) from error


def make_draft(item: Item, data: str, limits: Limits) -> Draft:
    """Check what a type can't say. Raises BadItem."""
    if item.event is not None and (problem := event.name_problem(item.event)):
        raise BadItem(f"`event` {problem}")
    try:
        size = _size(data, limits.message_bytes)
        topics = topic.from_target(item.to)
    except UnicodeEncodeError:
        raise BadItem("`data` must not contain lone surrogates") from None
    except ValueError as error:
        raise BadItem(str(error)) from None
    if size > limits.message_bytes:
        raise BadItem(f"`data` takes {size} bytes; at most {limits.message_bytes} are allowed")
    return Draft(topics, data, item.event, item.key, item.ttl, item.idempotency_key)


def _size(data: str, most: int) -> int:
    """Count the bytes that the data takes on the wire; what can't come near `most` is not looked at closely."""
    if data.isascii() and len(data) * (LINE_PREFIX + 1) <= most:
        return len(data)
    return len(data.encode()) + LINE_PREFIX * (data.count("\n") + data.count("\r"))


def _text(raw: bytes) -> str:
    return _string.decode(raw) if raw.startswith(b'"') else raw.decode()

"""How a message reads on a NATS subject. Backends may publish such messages themselves: docs/engines.md.

Subjects are given without the prefix and its `m`, which `layout` puts before them.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, unquote

from msgspec import structs

from tornado_sse.brokers import commands
from tornado_sse.brokers.base import Command
from tornado_sse.message import Draft
from tornado_sse.publishing import Limits, read_fields
from tornado_sse.topic import Topic

MANY = "many"
"""Subject of messages to several topics, which header `Sse-To` names."""

COMMAND = "command"
"""Subject of what every node is told to do."""

PROBE = "probe"
"""Subjects below it carry the nodes' round trips."""

MAX_TOKEN = 600
"""Longest name in a subject, as encoded: NATS takes lines of 4,096 bytes. A longer one is hashed."""

MSG_ID = "Nats-Msg-Id"
EVENT = "Sse-Event"
KEY = "Sse-Key"
TTL = "Sse-Ttl"
TO = "Sse-To"
TRACE = "traceparent"


class Malformed(ValueError):
    """A message that can't be read. It did not come from a node."""


class Parcel(NamedTuple):
    """A message as NATS carries it."""

    subject: str
    headers: dict[str, str]
    payload: bytes


def token(name: str) -> str:
    """Encode a name as one token of a subject: all but ASCII letters, digits, `_` and `-` as `%` and hex digits."""
    encoded = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    return encoded if len(encoded) <= MAX_TOKEN else "~" + sha256(name.encode()).hexdigest()


def subject_of(one: Topic) -> str:
    """Name the subject of a topic's messages."""
    if one.kind == "user":
        return f"user.{token(one.name)}.all"
    if one.kind == "session":
        return f"user.{token(one.name)}.session.{token(one.session)}"
    return f"channel.{token(one.name)}" if one.kind == "channel" else "all"


def interest_of(one: Topic) -> str:
    """Name what to subscribe to for a topic: a user and all of their sessions share one subscription."""
    return f"user.{token(one.name)}.>" if one.kind in ("user", "session") else subject_of(one)


def interest_in(subject: str) -> str:
    """Name the subscription that a message of the subject comes by."""
    kind, _, rest = subject.partition(".")
    return f"user.{rest.partition('.')[0]}.>" if kind == "user" else subject


def encode(draft: Draft, *, idempotent: bool) -> Parcel:
    """Make a draft fit to travel. `idempotent`: whether the engine is to look at its key."""
    headers = {}
    subject = subject_of(draft.topics[0]) if len(draft.topics) == 1 else MANY
    if subject == MANY or "~" in subject:
        headers[TO] = json.dumps([_target(one) for one in draft.topics])
    if draft.event is not None:
        headers[EVENT] = quote(draft.event)
    if draft.key is not None:
        headers[KEY] = quote(draft.key)
    if draft.ttl is not None:
        headers[TTL] = repr(float(draft.ttl))
    if draft.traceparent is not None:
        headers[TRACE] = draft.traceparent
    if idempotent and draft.idempotency_key is not None:
        headers[MSG_ID] = quote(draft.idempotency_key)
    return Parcel(subject, headers, draft.data.encode())


def decode(parcel: Parcel, limits: Limits) -> Draft:
    """Read what `encode` made, or a backend by the same rules. Raises Malformed."""
    headers = parcel.headers
    fields: dict[str, object] = {
        "event": _text(headers, EVENT),
        "key": _text(headers, KEY),
        "ttl": _ttl(headers),
    }
    try:
        fields["to"] = json.loads(headers[TO]) if TO in headers else _named_by(parcel.subject)
        draft = read_fields(fields, parcel.payload.decode(), limits)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if TO in headers and parcel.subject != MANY and [subject_of(one) for one in draft.topics] != [parcel.subject]:
        raise Malformed("subject and topics differ")
    return structs.replace(draft, traceparent=headers[TRACE]) if TRACE in headers else draft


def encode_command(command: Command) -> Parcel:
    """Make a command fit to travel."""
    return Parcel(COMMAND, {}, commands.encode(command))


def decode_command(payload: bytes) -> Command:
    """Read a command. Raises Malformed."""
    try:
        return commands.decode(payload)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise Malformed(str(error)) from error


def _target(one: Topic) -> object:
    if one.kind == "user":
        return {"user": one.name}
    if one.kind == "session":
        return {"user": one.name, "session": one.session}
    return {"channel": one.name} if one.kind == "channel" else "all"


def _named_by(subject: str) -> object:
    match subject.split("."):
        case ["all"]:
            return "all"
        case ["user", name, "all"]:
            return {"user": _name(name)}
        case ["user", name, "session", session]:
            return {"user": _name(name), "session": _name(session)}
        case ["channel", name]:
            return {"channel": _name(name)}
    raise ValueError("no such subject")


def _name(text: str) -> str:
    return unquote(text, errors="strict")


def _text(headers: Mapping[str, str], name: str) -> str | None:
    if name not in headers:
        return None
    try:
        return unquote(headers[name], errors="strict")
    except UnicodeDecodeError as error:
        raise Malformed(f"{name} is not UTF-8") from error


def _ttl(headers: Mapping[str, str]) -> float | None:
    if TTL not in headers:
        return None
    try:
        return float(headers[TTL])
    except ValueError as error:
        raise Malformed(f"{TTL} is no number") from error

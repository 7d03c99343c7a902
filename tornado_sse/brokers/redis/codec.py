"""What is written to the engine and read from it: names of topics, entries, arguments and answers of the scripts.

An entry is `<epoch> <sequence> <unix time in ms> <sequence of the topic's message before> <body>`, the body JSON.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from tornado_sse.brokers import commands
from tornado_sse.brokers.base import Command, Published
from tornado_sse.event import name_problem
from tornado_sse.message import Draft, Message, number
from tornado_sse.position import Position, parse
from tornado_sse.topic import ALL, Topic, channel, session, user

Word = str | bytes | int
"""What a command to the engine is made of."""

COMMANDS = "commands"
"""The topic that commands to all nodes go to. They are numbered as messages are, so that none is missed either."""


class Malformed(ValueError):
    """An entry that is none: somebody else wrote it."""


class _Body(msgspec.Struct, omit_defaults=True):
    to: list[str]
    data: str
    event: str | None = None
    key: str | None = None
    ttl: float | None = None
    traceparent: str | None = None


_HEAD = re.compile(rb"([0-9a-z]{1,32}) ([0-9]{1,19}) ([0-9]{1,15}) ([0-9]{1,19}) ")
_body_encoder = msgspec.json.Encoder()
_body_decoder = msgspec.json.Decoder(_Body)


def topic_name(topic: Topic) -> str:
    """Name a topic: `all`, `user:NAME`, `channel:NAME`, `session:USER:SESSION`, with `%` and `:` of USER as in URLs."""
    if topic == ALL:
        return "all"
    if topic.kind == "session":
        owner = topic.name.replace("%", "%25").replace(":", "%3A")
        return f"session:{owner}:{topic.session}"
    return f"{topic.kind}:{topic.name}"


def read_topic(name: str) -> Topic:
    """Read the name of a topic. Raises Malformed."""
    kind, _, rest = name.partition(":")
    if name == "all":
        return ALL
    if kind == "session":
        owner, colon, session_id = rest.partition(":")
        if colon:
            return session(owner.replace("%3A", ":").replace("%25", "%"), session_id)
    elif rest and kind in ("user", "channel"):
        return user(rest) if kind == "user" else channel(rest)
    raise Malformed(f"no topic: {name!r}")


def draft_arguments(drafts: Iterable[Draft]) -> Iterator[Word]:
    """Yield what publish.lua takes for drafts."""
    for draft in drafts:
        names = [topic_name(topic) for topic in draft.topics]
        body = _Body(names, draft.data, draft.event, draft.key, draft.ttl, draft.traceparent)
        yield from _arguments(draft.idempotency_key or "", body, kept=draft.ttl != 0)


def command_arguments(command: Command) -> Iterator[Word]:
    """Yield what publish.lua takes for a command."""
    body = _Body([COMMANDS], commands.encode(command).decode())
    yield from _arguments("", body, kept=True)


def _arguments(idempotency_key: str, body: _Body, *, kept: bool) -> list[Word]:
    return [idempotency_key, int(kept), _body_encoder.encode(body), len(body.to), *body.to]


def read_receipts(answer: Sequence[bytes | int]) -> list[Published]:
    """Read the answer of publish.lua."""
    epoch, _, *results = answer
    assert isinstance(epoch, bytes)  # noqa: S101 - written by publish.lua
    return [_receipt(epoch.decode(), result) for result in results]


def _receipt(epoch: str, result: bytes | int) -> Published:
    if isinstance(result, int):
        return Published(Position(epoch, result), duplicate=False)
    first = parse(result.decode())
    assert first is not None  # noqa: S101 - written by publish.lua
    return Published(first, duplicate=True)


class Entry(NamedTuple):
    """An entry, its body unread: `at` is unix time in ms by the engine's clock."""

    epoch: str
    sequence: int
    at: int
    previous: int
    body: bytes


def read_entry(data: bytes) -> Entry:
    """Read the head of an entry. Raises Malformed."""
    head = _HEAD.match(data)
    if head is None:
        raise Malformed("no entry")
    epoch, sequence, at, previous = head.groups()
    return Entry(epoch.decode(), int(sequence), int(at), int(previous), data[head.end() :])


def open_entry(entry: Entry, epoch: str, accepted_at: float) -> Message | Command:
    """Read the body of an entry, for a node whose positions have that epoch. Raises Malformed."""
    try:
        body = _body_decoder.decode(entry.body)
        if body.to == [COMMANDS]:
            return commands.decode(body.data)
        if body.event is not None and (problem := name_problem(body.event)):
            raise Malformed(f"`event` {problem}")
        topics = tuple(map(read_topic, body.to))
        draft = Draft(topics, body.data, body.event, body.key, body.ttl, traceparent=body.traceparent)
        return number(draft, Position(epoch, entry.sequence), accepted_at)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, as are lone surrogates
        raise Malformed(str(error)) from error


@dataclass(frozen=True, slots=True)
class Replayed:
    """What replay.lua found: entries in order, each once; `lost` is the highest sequence that is gone, 0: none is.

    `malformed` counts what was passed over.
    """

    epoch: str
    sequence: int
    now: int
    entries: list[Entry]
    lost: int
    malformed: int


def read_replay(answer: Sequence[Any], after: int, max_age: int) -> Replayed:
    """Read the answer of replay.lua, asked for what came after a sequence; what is above `max_age` (ms) is gone."""
    epoch, sequence, now, *topics = answer
    found: dict[int, Entry] = {}
    lost = malformed = 0
    for newest, *texts in topics:
        entries = list(_well_formed(texts))
        malformed += len(texts) - len(entries)
        kept = [entry for entry in entries if entry.at > now - max_age]
        gone = kept[0].previous if kept else newest
        lost = max(lost, gone if gone > after else 0)
        found.update((entry.sequence, entry) for entry in kept)
    return Replayed(epoch.decode(), sequence, now, [found[number] for number in sorted(found)], lost, malformed)


def _well_formed(texts: Iterable[bytes]) -> Iterator[Entry]:
    for text in texts:
        with suppress(Malformed):
            yield read_entry(text)

"""What is fuzzed of what brokers carry: bytes that anybody wrote who may write there."""

from collections.abc import Sequence
from contextlib import suppress

from fuzz_frames import check_frame
from tornado_sse import census
from tornado_sse.brokers.base import Command
from tornado_sse.brokers.nats import link
from tornado_sse.brokers.nats.codec import Parcel
from tornado_sse.brokers.nats.reader import Stored
from tornado_sse.brokers.nats.scribe import Scribe
from tornado_sse.brokers.redis import codec
from tornado_sse.brokers.redis.inbox import Inbox
from tornado_sse.census import Census
from tornado_sse.message import Message
from tornado_sse.publishing import Limits
from tornado_sse.stats import Stats

LIMITS = Limits(message_bytes=1000, items=1)
STORED_AT = "2026-01-01T00:00:00.123456789Z"


class Node:
    """A receiver that looks at what is handed in."""

    def deliver(self, messages: Sequence[Message]) -> None:
        for message in messages:
            check_frame(message)

    def obey(self, command: Command) -> None:
        assert isinstance(command.user, str)

    def reached(self, upto: int) -> None:
        assert upto >= 0

    def hear(self, words: bytes) -> None:
        raise NotImplementedError

    def lost(self, first: int, last: int) -> None:
        assert 0 < first <= last

    def renew(self, epoch: str, upto: int) -> None:
        raise NotImplementedError


def nats(data: bytes) -> None:
    """A subject, and a message's headers and payload as they are on the wire."""
    subject, _, rest = data.partition(b"\n")
    head, _, payload = rest.partition(b"\r\n\r\n")
    parcel = Parcel(subject.decode("utf-8", "replace"), link._Client._parse_header_lines(head), payload)
    scribe = Scribe(LIMITS, Stats(), lambda: 1000.0, lambda: 2e9)
    stored = Stored(7, STORED_AT, parcel)
    for item in (scribe.live("e", 7, parcel), scribe.missed("e", stored), scribe.kept("e", stored)):
        if isinstance(item, Message):
            check_frame(item)


def redis(data: bytes) -> None:
    """An entry."""
    with suppress(codec.Malformed):
        entry = codec.read_entry(data)._replace(epoch="e")  # what has another is passed over
        inbox = Inbox(Node(), Stats(), lambda at: at / 1000, lambda: 1000.0)
        inbox.begin("e", 0)
        inbox.take([entry])
        for message in inbox.past([entry]):
            check_frame(message)


def report(data: bytes) -> None:
    """What a node tells others: several reports, one a line."""
    listener = Census("here", lambda _: 3, lambda: 0.0)
    listener.begin(8, ["u1"])
    for line in data.split(b"\n"):
        with suppress(census.Malformed):
            listener.hear(line)
        listener.replace("u1", 1)
        assert listener.elsewhere("u1") >= 0
        listener.reports()

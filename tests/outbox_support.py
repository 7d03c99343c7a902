"""A backlog that is filled and emptied by hand, and what a client would see of it."""

from support import make_message, read_events, sequence_of, tell_gap
from tornado_sse.event import Encoding
from tornado_sse.outbox import Bounds, Dropped, Outbox, SlowPolicy

SIZE = len(make_message(1).frame.body)


def new_outbox(
    policy: SlowPolicy = SlowPolicy.DISCONNECT,
    *,
    max_bytes: int = 3 * SIZE,
    max_age: float = 10,
    encoding: Encoding = Encoding.BARE,
    held: bool = False,
) -> Outbox:
    outbox = Outbox(Bounds(max_bytes, max_age, policy), encoding, 0.0, tell_gap)
    if not held:
        outbox.release((), 0)
    return outbox


def push(outbox: Outbox, *numbers: int, now: float = 0.0, key: str | None = None) -> Dropped:
    """Push messages that are encoded in `SIZE` bytes each."""
    messages = gaps = 0
    for number in numbers:
        dropped = outbox.push(make_message(number, key=key), now)
        messages, gaps = messages + dropped.messages, gaps + dropped.gaps
    return Dropped(messages, gaps)


def take(outbox: Outbox, count: int, now: float = 0.0) -> bytes:
    data = outbox.pending()[:count]
    outbox.wrote(len(data), now)
    return data


def drain(outbox: Outbox, now: float = 0.0) -> bytes:
    return b"".join(iter(lambda: take(outbox, 10**9, now), b""))


def told(body: bytes) -> list[int | str]:
    """What a client sees: sequences, and the data of notices."""
    return [event.data if event.name.startswith("stream-") else sequence_of(event) for event in read_events(body)]


def waiting(outbox: Outbox) -> list[int | str]:
    return told(drain(outbox))

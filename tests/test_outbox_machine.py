"""A stream's backlog as a state machine: any pattern of pushes, partial writes, drops, pauses and a release.

Whatever happens, what comes out is whole events in order, each at most once, and nothing is lost but what was told.
"""

import zlib
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support import GAP, NOTICE, Event, dechunk, make_message, read_events, sequence_of, tell_gap
from tornado_sse.event import GZIP_HEADER, Encoding
from tornado_sse.message import Message
from tornado_sse.outbox import Bounds, Dropped, Outbox, Overflow, SlowPolicy


class Backlog(RuleBasedStateMachine):
    """Anything that may happen to a backlog, in any order, and then a client that reads what came of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.wire = b""
        self.published: list[Message] = []  # all messages of the stream's topics
        self.pushed = 0  # how many of them fan-out has come to
        self.past = 0  # how many of them the past held
        self.notices = self.dropped = self.gaps = self.lost = self.written = 0
        self.dropped_in_vain = False
        self.closed = False

    @initialize(
        policy=st.sampled_from(SlowPolicy), encoding=st.sampled_from(Encoding), max_bytes=st.sampled_from([100, 400])
    )
    def begin(self, policy: SlowPolicy, encoding: Encoding, max_bytes: int) -> None:
        self.bounds = Bounds(max_bytes, 10.0, policy)
        self.encoding = encoding
        self.outbox = Outbox(self.bounds, encoding, self.now, tell_gap)

    @rule(step=st.integers(1, 3), size=st.integers(0, 60), key=st.sampled_from([None, None, "a", "b"]))
    def publish(self, step: int, size: int, key: str | None) -> None:
        last = self.published[-1].sequence if self.published else 0
        self.published.append(make_message(last + step, data="x" * size, key=key))

    @precondition(lambda self: self.pushed < len(self.published) and not self.closed)
    @rule(part=st.floats(0, 0.99))
    def push(self, part: float) -> None:
        message = self.published[self.pushed]
        data = message.frame.encoded(self.encoding)
        goes_directly = not self.outbox.held and not len(self.outbox) and message.sequence > self.outbox.floor
        sent = int(part * len(data)) if goes_directly else 0
        self.wire += data[:sent]
        self.pushed += 1
        try:
            self.count(self.outbox.push(message, self.now, sent))
        except Overflow as overflow:
            assert self.bounds.policy is not SlowPolicy.DROP_OLDEST
            self.count(overflow.dropped)
            self.close()
        else:
            keeps_the_newest = self.bounds.policy is SlowPolicy.DROP_OLDEST and len(self.live()) <= 2
            assert self.outbox.bytes <= self.bounds.max_bytes or keeps_the_newest

    @precondition(lambda self: not self.closed)
    @rule()
    def notice(self) -> None:
        self.outbox.notice(NOTICE.encoded(self.encoding))
        self.notices += 1

    @precondition(lambda self: self.outbox.held and not self.closed)
    @rule(share=st.floats(0, 1))
    def release(self, share: float) -> None:
        past = self.published[: round(share * len(self.published))]
        floor = past[-1].sequence if past else 0
        dropped = self.dropped_while_held()
        assert len(dropped) == self.dropped
        self.dropped -= sum(message.sequence <= floor for message in dropped)
        self.dropped_in_vain = self.dropped < len(dropped)
        self.outbox.release([NOTICE.encoded(self.encoding), *past], floor)
        self.past = len(past)
        self.notices += 1

    def dropped_while_held(self) -> list[Message]:
        pushed = self.published[: self.pushed]
        if self.bounds.policy is not SlowPolicy.CONFLATE:
            return pushed[: self.dropped]
        later = [{message.key for message in pushed[index + 1 :]} for index in range(len(pushed))]
        return [one for one, keys in zip(pushed, later, strict=True) if one.key is not None and one.key in keys]

    @rule(count=st.integers(0, 400))
    def write(self, count: int) -> None:
        data = self.outbox.pending()[:count]
        self.wire += data
        self.written += self.outbox.wrote(len(data), self.now)

    @precondition(lambda self: not self.closed)
    @rule(seconds=st.sampled_from([0.5, 4.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        try:
            self.count(self.outbox.expire(self.now))
        except Overflow:
            self.close()

    def count(self, dropped: Dropped) -> None:
        self.dropped += dropped.messages
        self.gaps += dropped.gaps

    def close(self) -> None:
        self.closed = True
        self.lost = self.outbox.cut(keep_begun=True)
        assert self.outbox.bytes == 0

    def live(self) -> list[int]:
        live = [entry.message for entry in self.outbox._entries if entry.live_since is not None]
        return [len(message.frame.encoded(self.encoding)) for message in live if message is not None]

    @invariant()
    def the_dead_are_never_first_and_never_more_than_the_living(self) -> None:
        dead = [entry.is_dead for entry in self.outbox._entries]
        assert sum(dead) == len(dead) - len(self.outbox) <= len(self.outbox)
        assert dead[:1] != [True]

    @invariant()
    def only_what_waits_can_be_replaced(self) -> None:
        assert set(self.outbox._newest.values()) <= set(self.outbox._entries)

    @invariant()
    def bytes_are_those_of_the_live_messages(self) -> None:
        assert self.outbox.bytes == sum(self.live())

    def teardown(self) -> None:
        if self.outbox.held and not self.closed:
            self.release(0.5)
        while not self.closed and self.pushed < len(self.published):
            self.push(0.5)
        while self.outbox.pending():
            self.write(7)
        assert self.outbox.held or (len(self.outbox), self.outbox.bytes) == (0, 0)
        self.check(self.read())

    def read(self) -> list[Event]:
        if self.encoding is Encoding.BARE:
            return read_events(self.wire)
        body = b"".join(dechunk(self.wire))
        if self.encoding is Encoding.GZIP:
            body = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(b"".join(dechunk(GZIP_HEADER)) + body)
        return read_events(body)

    def check(self, events: list[Event]) -> None:
        received = [sequence_of(event) for event in events if event.name == "message"]
        assert len(received) == self.written
        spans = [span(event) for event in events if event.name in ("message", GAP)]
        assert all(last < first for (_, last), (first, _) in pairwise(spans)), (
            "out of order, twice, or both told and sent"
        )
        if self.closed:
            self.check_closed(received)
            return
        assert sum(event.name == "stream-note" for event in events) == self.notices
        missing = [message for message in self.published if message.sequence not in received]
        assert len(missing) == self.dropped
        if self.bounds.policy is SlowPolicy.CONFLATE:
            for message in missing:
                newest = max(other.sequence for other in self.published if other.key == message.key)
                assert message.key is not None
                assert newest in received
        else:
            self.check_gaps([span(event) for event in events if event.name == GAP], missing)

    def check_closed(self, received: list[int]) -> None:
        if not self.outbox.held and not self.gaps:
            live = [one for one in self.published[: self.pushed] if one.sequence > self.outbox.floor]
            assert len(received) + self.lost + self.dropped == self.past + len(live)

    def check_gaps(self, gaps: list[tuple[int, int]], missing: list[Message]) -> None:
        covered = [one for first, last in gaps for one in self.published if first <= one.sequence <= last]
        assert covered == missing
        assert len(gaps) <= self.gaps if self.dropped_in_vain else len(gaps) == self.gaps


def span(event: Event) -> tuple[int, int]:
    """The first and last sequence that an event stands for."""
    if event.name == GAP:
        first, last = event.data.split("..")
        return int(first), int(last)
    return sequence_of(event), sequence_of(event)


Backlog.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestBacklog = Backlog.TestCase

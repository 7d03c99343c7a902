"""History: bounded in every way, and honest about what it no longer holds."""

import secrets
from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import FakeClock, make_message, sequences
from tornado_sse import topic
from tornado_sse.event import Encoding
from tornado_sse.history import MAX_TOPICS, OVERHEAD, SWEEP, TOPIC_OVERHEAD, History
from tornado_sse.message import Message
from tornado_sse.topic import ALL, Topic

A, B, C, D, E = TOPICS = [topic.channel(name) for name in "abcde"]


def cost(message: Message) -> int:
    return len(message.frame.chunk) + OVERHEAD


class Bench:
    """A history with a clock, filled by hand."""

    def __init__(
        self, *, size: int = 100, ttl: float = 10, max_bytes: int = 10**6, max_topics: int = MAX_TOPICS
    ) -> None:
        self.clock = FakeClock()
        self.history = History(size=size, ttl=ttl, max_bytes=max_bytes, clock=self.clock, max_topics=max_topics)
        self.last = 0

    def publish(self, *topics: Topic, data: str = "", ttl: float | None = None) -> Message:
        self.last += 1
        message = make_message(self.last, *topics, data=data, ttl=ttl, accepted_at=self.clock.now)
        self.history.extend([message])
        return message

    def replay(self, topics: Iterable[Topic], after: int = 0, upto: int | None = None) -> tuple[list[int], int]:
        found = self.history.replay(topics, after, self.last if upto is None else upto)
        return sequences(found.messages), found.lost


def test_an_empty_history_lost_nothing() -> None:
    assert Bench().replay([A, B]) == ([], 0)


def test_messages_of_several_topics_come_in_order_and_once() -> None:
    bench = Bench()
    for topics in ([A], [B], [A, B], [C], [B, A, C]):
        bench.publish(*topics)
    assert bench.replay([A, B]) == ([1, 2, 3, 5], 0)
    assert bench.replay([B, A]) == ([1, 2, 3, 5], 0)
    assert bench.replay([C]) == ([4, 5], 0)
    assert bench.replay(iter([A])) == ([1, 3, 5], 0)


@pytest.mark.parametrize(
    ("after", "upto", "expected"), [(0, 9, [1, 2, 3]), (1, 3, [2, 3]), (1, 2, [2]), (3, 3, []), (0, 0, []), (9, 9, [])]
)
def test_a_replay_begins_after_one_sequence_and_ends_with_another(after: int, upto: int, expected: list[int]) -> None:
    bench = Bench()
    for _ in range(3):
        bench.publish(A)
    assert bench.replay([A], after, upto) == (expected, 0)


def test_each_topic_keeps_so_many() -> None:
    bench = Bench(size=2)
    for topics in ([A], [A], [A], [B]):
        bench.publish(*topics)
    assert bench.replay([A]) == ([2, 3], 1)
    assert bench.replay([A], after=1) == ([2, 3], 0)
    assert bench.replay([B]) == ([4], 0)


def test_a_size_of_zero_keeps_nothing_and_says_so() -> None:
    bench = Bench(size=0)
    bench.publish(A)
    assert bench.replay([A]) == ([], 1)
    assert bench.replay([A], after=1) == ([], 0)
    assert bench.replay([B]) == ([], 0)
    assert bench.history.bytes == 0


def test_a_message_goes_when_its_time_is_over() -> None:
    bench = Bench(ttl=10)
    bench.publish(A)
    bench.clock.advance(5)
    bench.publish(A)
    bench.clock.advance(4.9)
    assert bench.replay([A]) == ([1, 2], 0)
    bench.clock.advance(0.1)
    assert bench.replay([A]) == ([2], 1)
    bench.clock.advance(5)
    assert bench.replay([A]) == ([], 2)
    assert bench.history.bytes == 0


def test_a_quiet_topic_is_swept_when_its_last_message_is_too_old() -> None:
    bench = Bench(ttl=10)
    bench.publish(A)
    bench.clock.advance(9)
    message = bench.publish(B)
    bench.clock.advance(1)
    assert not bench.history.sweep()
    assert bench.history.bytes == TOPIC_OVERHEAD + cost(message)
    assert bench.replay([A]) == ([], 1)


def test_what_is_too_old_is_swept_in_steps() -> None:
    bench = Bench(size=SWEEP * 2, ttl=10)
    for _ in range(SWEEP + 1):
        bench.publish(A)
    bench.clock.advance(10)
    assert bench.history.sweep()
    assert TOPIC_OVERHEAD < bench.history.bytes < 2 * TOPIC_OVERHEAD
    assert not bench.history.sweep()
    assert bench.history.bytes == 0
    assert bench.replay([A]) == ([], SWEEP + 1)


def test_a_message_with_a_time_of_its_own_is_not_missed_after_it() -> None:
    bench = Bench()
    bench.publish(A, ttl=3)
    bench.publish(A)
    bench.clock.advance(2.9)
    assert bench.replay([A]) == ([1, 2], 0)
    bench.clock.advance(0.1)
    assert bench.replay([A]) == ([2], 0)


def test_a_message_for_those_who_listen_now_is_not_kept_and_not_missed() -> None:
    bench = Bench()
    bench.publish(A, ttl=0)
    assert bench.replay([A]) == ([], 0)
    assert bench.history.bytes == 0


def test_all_topics_together_keep_so_many_bytes_and_the_quietest_goes_first() -> None:
    bench = Bench(max_bytes=2 * TOPIC_OVERHEAD + 3 * cost(make_message(1, data="")))
    for topics in ([A], [A], [B], [A]):
        bench.publish(*topics)
    assert bench.replay([B]) == ([], 3)
    assert bench.replay([A]) == ([1, 2, 4], 0)
    bench.publish(C)
    assert bench.replay([A]) == ([2, 4], 1)
    assert bench.replay([C]) == ([5], 0)


def test_a_message_above_the_byte_bound_is_lost_at_once() -> None:
    bench = Bench(max_bytes=1000)
    bench.publish(A, data="x" * 1000)
    assert bench.replay([A]) == ([], 1)
    assert bench.history.bytes == 0


def test_a_message_counts_for_each_of_its_topics() -> None:
    bench = Bench()
    message = bench.publish(A, B, C)
    assert bench.history.bytes == 3 * (TOPIC_OVERHEAD + cost(message))


def test_room_is_reckoned_for_what_compression_makes_of_messages_later() -> None:
    history = History(size=1000, ttl=10, max_bytes=10**5, clock=FakeClock(), compression=True)
    history.extend([make_message(number, A, data=secrets.token_hex(500)) for number in range(200)])
    kept = history.replay([A], 0, 200).messages
    assert len(kept) > 10
    assert sum(len(one.frame.chunk) + len(one.frame.encoded(Encoding.GZIP)) for one in kept) <= history.bytes <= 10**5


def test_past_the_bound_in_topics_the_quietest_goes() -> None:
    bench = Bench(max_topics=2)
    for topics in ([A], [B], [A], [C]):
        bench.publish(*topics)
    assert bench.replay([B]) == ([], 2)
    assert bench.replay([A]) == ([1, 3], 0)
    assert bench.replay([C]) == ([4], 0)


def test_topics_forgotten_leave_a_common_floor() -> None:
    bench = Bench(size=0, max_topics=2)
    for one in (A, B, C, D):
        bench.publish(one)
    # A and B are forgotten: whoever listens to them, or to a topic never seen, may have missed something up to 2.
    assert bench.replay([A]) == ([], 2)
    assert bench.replay([E]) == ([], 2)
    assert bench.replay([E], after=2) == ([], 0)
    assert bench.replay([D]) == ([], 4)


def test_a_new_topic_begins_at_the_floor() -> None:
    bench = Bench(size=0, max_topics=1)
    bench.publish(A)
    bench.publish(B)
    bench.history._size = 5
    bench.publish(A)
    assert bench.replay([A]) == ([3], 1)


def test_memory_stays_bounded_however_many_topics_there_are() -> None:
    most = 40 * (TOPIC_OVERHEAD + cost(make_message(1, data="")))
    bench = Bench(size=3, max_topics=50, max_bytes=most)
    for number in range(2000):
        bench.publish(topic.user(str(number)), topic.channel(str(number % 7)))
        assert bench.history.bytes <= most
    assert len(bench.history._logs) <= 50
    assert len(bench.history._lost) <= 50


class Model:
    """The same rules over plain lists, slowly."""

    def __init__(self, clock: FakeClock, size: int, ttl: float, max_bytes: int, max_topics: int) -> None:
        self.clock = clock
        self.size, self.ttl, self.max_bytes, self.max_topics = size, ttl, max_bytes, max_topics
        self.published: list[Message] = []
        self.kept: list[tuple[Topic, Message]] = []
        self.lately: list[Topic] = []  # the quietest first

    def of(self, one: Topic) -> list[Message]:
        return [message for key, message in self.kept if key == one]

    def by_quiet(self) -> list[Topic]:
        return sorted({one for one, _ in self.kept}, key=self.lately.index)

    def append(self, message: Message) -> None:
        self.published.append(message)
        if message.expires_at == message.accepted_at:
            return
        for one in message.topics:
            self.lately = [*(other for other in self.lately if other != one), one]
            self.kept.append((one, message))
            self.trim(one)
        self.make_room()

    def trim(self, one: Topic) -> None:
        fresh = [message for message in self.of(one) if message.accepted_at > self.clock.now - self.ttl]
        self.keep(one, fresh[len(fresh) - min(self.size, len(fresh)) :])

    def keep(self, one: Topic, messages: list[Message]) -> None:
        self.kept = [pair for pair in self.kept if pair[0] != one] + [(one, message) for message in messages]

    def sweep(self) -> None:
        for one in self.by_quiet():
            if self.of(one)[-1].accepted_at <= self.clock.now - self.ttl:
                self.keep(one, [])

    def make_room(self) -> None:
        while len(self.by_quiet()) > self.max_topics:
            self.keep(self.by_quiet()[0], [])
        while self.bytes > self.max_bytes:
            quietest = self.by_quiet()[0]
            self.keep(quietest, self.of(quietest)[1:])

    @property
    def bytes(self) -> int:
        return sum(cost(message) for _, message in self.kept) + TOPIC_OVERHEAD * len(self.by_quiet())

    def replay(self, topics: list[Topic], after: int, upto: int) -> list[int]:
        for one in topics:
            self.trim(one)
        found = {message.sequence: message for one in topics for message in self.of(one)}
        now = self.clock.now
        return sorted(
            sequence
            for sequence, message in found.items()
            if after < sequence <= upto and (message.expires_at is None or message.expires_at > now)
        )


class Publish(NamedTuple):
    """A step: publish one message."""

    topics: list[Topic]
    ttl: float | None
    length: int


class Wait(NamedTuple):
    """A step: let time pass."""

    seconds: float


class Sweep(NamedTuple):
    """A step: let go of what is too old."""


class Ask(NamedTuple):
    """A step: replay."""

    topics: list[Topic]
    after: int
    upto: int


SOME_TOPICS = st.lists(st.sampled_from([ALL, *TOPICS]), min_size=1, max_size=3, unique=True)
STEPS = st.lists(
    st.builds(Publish, SOME_TOPICS, st.sampled_from([None, None, None, 0.0, 3.0, 100.0]), st.integers(0, 300))
    | st.builds(Wait, st.sampled_from([0.5, 2.0, 6.0]))
    | st.builds(Sweep)
    | st.builds(Ask, SOME_TOPICS, st.integers(0, 40), st.integers(0, 40)),
    max_size=40,
)


@settings(max_examples=300)
@given(STEPS, st.integers(0, 4), st.sampled_from([1700, 3000, 6000, 10**6]), st.integers(1, 6))
def test_it_replays_what_a_plain_model_does_and_no_hole_is_silent(
    steps: list[Publish | Wait | Sweep | Ask], size: int, max_bytes: int, max_topics: int
) -> None:
    bench = Bench(size=size, ttl=10, max_bytes=max_bytes, max_topics=max_topics)
    model = Model(bench.clock, size, 10, max_bytes, max_topics)
    for step in steps:
        if isinstance(step, Publish):
            model.append(bench.publish(*step.topics, data="x" * step.length, ttl=step.ttl))
            assert bench.history.bytes <= max_bytes
        elif isinstance(step, Wait):
            bench.clock.advance(step.seconds)
        elif isinstance(step, Sweep):
            bench.history.sweep()
            model.sweep()
        else:
            check_replay(bench, model, step.topics, step.after, min(step.upto, bench.last))
        assert bench.history.bytes == model.bytes
        assert len(bench.history._logs) <= max_topics
        assert len(bench.history._lost) <= max_topics
    check_replay(bench, model, [ALL, *TOPICS], 0, bench.last)


def check_replay(bench: Bench, model: Model, topics: list[Topic], after: int, upto: int) -> None:
    found, lost = bench.replay(topics, after, upto)
    assert found == model.replay(topics, after, upto)
    assert lost == 0 or lost > after
    for message in model.published:
        is_asked_for = after < message.sequence <= upto and not set(topics).isdisjoint(message.topics)
        is_over = message.expires_at is not None and message.expires_at <= bench.clock.now
        if is_asked_for and message.sequence not in found:
            assert is_over or lost >= message.sequence, "a silent hole"
    if len({one for message in model.published for one in message.topics}) <= bench.history._max_topics:
        gone = [m.sequence for m in model.published if m.expires_at != m.accepted_at and is_gone(m, model, topics)]
        assert lost == max([sequence for sequence in gone if sequence > after], default=0), "a hole that is none"


def is_gone(message: Message, model: Model, topics: list[Topic]) -> bool:
    return any(one in topics and (one, message) not in model.kept for one in message.topics)

"""The order and the holes of one node's messages, without any engine."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import make, make_message, sequences
from tornado_sse.brokers.base import Command, Disconnect
from tornado_sse.brokers.nats.feed import Arrival, Feed, Interest, Item
from tornado_sse.message import Message

A, B, OTHER = "channel.a", "channel.b", "channel.other"


class Log:
    """A receiver that remembers everything in order."""

    def __init__(self) -> None:
        self.delivered: list[Message] = []
        self.commands: list[Command] = []
        self.holes: list[tuple[int, int]] = []
        self.renewals: list[tuple[str, int]] = []
        self.upto = 0

    def deliver(self, messages: Sequence[Message]) -> None:
        self.delivered += messages

    def reached(self, upto: int) -> None:
        self.upto = upto

    def obey(self, command: Command) -> None:
        self.commands.append(command)

    def hear(self, words: bytes) -> None:
        raise NotImplementedError

    def lost(self, first: int, last: int) -> None:
        assert first <= last
        self.holes.append((first, last))

    def renew(self, epoch: str, upto: int) -> None:
        self.renewals.append((epoch, upto))

    @property
    def told(self) -> set[int]:
        return {number for first, last in self.holes for number in range(first, last + 1)}


class Bench:
    """A feed with interest in A and B, live behind sequence 10."""

    def __init__(self) -> None:
        self.log = Log()
        self.suspicions = 0
        self.feed = Feed(self.log, self._suspect)
        for name in (A, B):
            self.feed.interests[name] = Interest(count=1)
        self.feed.begin(10)

    def _suspect(self) -> None:
        self.suspicions += 1

    def arrive(self, sequence: int, subject: str = A, previous: int | None = 0) -> None:
        self.feed.arrive(arrival(sequence, subject, previous))

    @property
    def seen(self) -> list[int]:
        return sequences(self.log.delivered)


def arrival(sequence: int, subject: str = A, previous: int | None = None) -> Arrival:
    return Arrival(sequence, subject, previous, lambda: make_message(sequence))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_arrives_is_handed_in(bench: Bench) -> None:
    bench.arrive(11)
    bench.arrive(14, B, 3)
    bench.arrive(15, A, 11)
    assert bench.seen == [11, 14, 15]
    assert bench.feed.reached == 15
    assert not bench.log.holes


def test_what_comes_twice_is_dropped(bench: Bench) -> None:
    for sequence in (11, 12, 11, 12):
        bench.arrive(sequence, previous=sequence - 1)
    assert bench.seen == [11, 12]
    assert not bench.log.holes


def test_what_nobody_wants_is_dropped(bench: Bench) -> None:
    bench.arrive(11, OTHER)
    assert (bench.seen, bench.feed.reached) == ([], 10)


def test_what_can_not_be_read_is_passed_over_and_a_command_is_obeyed(bench: Bench) -> None:
    items: list[Item] = [None, Disconnect("u")]
    for number, item in enumerate(items):
        bench.feed.arrive(Arrival(11 + number, A, 10 + number, lambda item=item: item))  # type: ignore[misc]
    assert bench.seen == []
    assert bench.log.commands == [Disconnect("u")]
    assert bench.feed.reached == 12


def test_a_hole_is_suspected_and_filled_in_order(bench: Bench) -> None:
    bench.arrive(11)
    bench.arrive(14, A, 13)
    bench.arrive(15, B, 2)
    assert (bench.suspicions, bench.seen, bench.feed.waiting) == (1, [11], 2)
    make(bench.feed.fill([arrival(11), arrival(12, B), arrival(13), arrival(14)], 14))
    make(bench.feed.resume())
    assert bench.seen == [11, 12, 13, 14, 15]
    assert bench.log.holes == []


def test_what_arrives_while_a_hole_is_filled_waits_for_its_turn(bench: Bench) -> None:
    bench.feed.hold()
    bench.arrive(13)
    filling = bench.feed.fill([arrival(11), arrival(12)], 12)
    next(filling)
    bench.arrive(14, previous=13)
    make(filling)
    resuming = bench.feed.resume()
    next(resuming)
    bench.arrive(15, previous=14)
    assert not bench.feed.is_live
    make(resuming)
    bench.arrive(16, previous=15)
    assert bench.seen == [11, 12, 13, 14, 15, 16]
    assert (bench.feed.is_live, bench.log.holes) == (True, [])


def test_a_message_that_others_overtook_is_told(bench: Bench) -> None:
    bench.arrive(12, B)
    bench.feed.hold()
    make(bench.feed.fill([arrival(11), arrival(12, B), arrival(13, OTHER)], 13))
    make(bench.feed.resume())
    assert bench.seen == [12]
    assert bench.log.holes == [(11, 11)]
    assert bench.feed.reached == 13


def test_a_straggler_is_told(bench: Bench) -> None:
    bench.arrive(12, B)
    bench.arrive(11, A)
    bench.arrive(11, A)
    assert bench.seen == [12]
    assert bench.log.holes == [(11, 11)]


def test_what_history_no_longer_holds_is_told(bench: Bench) -> None:
    bench.feed.hold()
    make(bench.feed.fill([arrival(13), arrival(15)], 17))
    make(bench.feed.resume())
    assert bench.seen == [13, 15]
    assert bench.log.holes == [(11, 17)]


def test_what_was_handed_in_may_be_gone_from_history(bench: Bench) -> None:
    bench.arrive(11)
    bench.feed.hold()
    make(bench.feed.fill([arrival(12)], 12))
    make(bench.feed.resume())
    assert bench.seen == [11, 12]
    assert bench.log.holes == []


def test_a_hole_that_shows_late_is_told_once(bench: Bench) -> None:
    bench.feed.verify(20)  # 15 was missed, unnoticed
    bench.arrive(22, A, 15)
    assert bench.suspicions == 1
    make(bench.feed.fill([arrival(21, OTHER), arrival(22)], 22))
    make(bench.feed.resume())
    bench.arrive(24, A, 22)
    assert bench.seen == [22, 24]
    assert bench.log.holes == [(11, 15)]


def test_a_hole_that_is_in_history_neither_is_told(bench: Bench) -> None:
    bench.feed.hold()
    bench.arrive(13, A, 12)
    make(bench.feed.fill([arrival(11, OTHER)], 11))
    make(bench.feed.resume())
    assert bench.seen == [13]
    assert bench.log.holes == [(11, 12)]


def test_interest_counts_from_where_it_is_known_to(bench: Bench) -> None:
    bench.feed.interests[OTHER] = Interest(count=1)
    bench.arrive(12, OTHER, 11)  # 11 was before the subscription
    bench.feed.count_from([OTHER, "channel.unknown"], 13)
    bench.feed.count_from([OTHER], 99)
    bench.arrive(15, OTHER, 14)
    assert (bench.seen, bench.suspicions) == ([12], 1)


def test_a_fill_leaves_out_what_was_before_the_interest(bench: Bench) -> None:
    bench.arrive(14, A)
    bench.feed.interests[OTHER] = Interest(count=1)
    bench.feed.count_from([OTHER], 12)
    bench.feed.hold()
    make(bench.feed.fill([arrival(11, OTHER), arrival(12, B), arrival(13, OTHER), arrival(14)], 14))
    assert bench.log.holes == [(12, 12), (13, 13)]


def test_how_far_delivery_is(bench: Bench) -> None:
    assert bench.log.upto == 10
    bench.arrive(11)
    bench.feed.verify(15)
    assert (bench.log.upto, bench.feed.reached, bench.feed.verified) == (15, 15, 15)
    bench.feed.verify(14)
    assert (bench.log.upto, bench.feed.verified) == (15, 15)
    bench.feed.hold()
    bench.feed.came_back(16)
    assert (bench.log.upto, bench.feed.verified) == (15, 15)
    make(bench.feed.resume())
    bench.feed.came_back(16)
    assert (bench.log.upto, bench.feed.verified) == (16, 16)


def test_what_waits_is_thrown_away_with_its_connection(bench: Bench) -> None:
    bench.feed.hold()
    bench.arrive(11)
    bench.feed.hold()
    assert bench.feed.waiting == 1
    bench.feed.forget_held()
    assert (bench.feed.waiting, bench.feed.is_live) == (0, False)


def test_after_a_renewal_sequences_begin_anew(bench: Bench) -> None:
    bench.arrive(11)
    bench.feed.hold()
    bench.arrive(4, A, 2)
    bench.feed.renew("new", 3)
    bench.arrive(5, A, 4)
    assert bench.log.renewals == [("new", 3)]
    assert bench.seen == [11, 4, 5]
    assert bench.log.holes == []


# Whatever is lost on the way: in order, each once, and everything is there or told.


class Channel:
    """A stream of three subjects, and a way from it to a feed that loses messages."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.wanted: set[int] = set()
        self._history: list[tuple[int, str]] = []
        self._last: dict[str, int] = {}
        self._sequence = 10
        self._is_whole = True

    def publish(self, subject: str, fate: str) -> None:
        """Publish a message, which is "there", or "missed" on the way; "discarded": it is gone from history, too."""
        self._sequence += 1
        if subject != OTHER:
            self.wanted.add(self._sequence)
        if fate != "discarded":
            self._history.append((self._sequence, subject))
        if fate == "there":
            self.bench.arrive(self._sequence, subject, self._last.get(subject, 0))
        self._is_whole = self._is_whole and fate == "there"
        self._last[subject] = self._sequence

    def probe(self) -> None:
        if self._is_whole and self.bench.feed.is_live:
            self._sequence += 1
            self._history.append((self._sequence, OTHER))
            self.bench.feed.verify(self._sequence)

    def refill(self) -> None:
        feed = self.bench.feed
        feed.hold()
        missed = [one for one in self._history if one[0] > feed.verified]
        half = missed[len(missed) // 2][0] if missed else feed.verified
        make(feed.fill([arrival(*one) for one in missed if one[0] <= half], half))
        make(feed.fill([arrival(*one) for one in missed if one[0] > half], self._sequence))
        make(feed.resume())
        self._is_whole = True

    def reconnect(self) -> None:
        self.bench.feed.hold()
        self.bench.feed.forget_held()
        self.refill()


ends = st.sampled_from([Channel.probe, Channel.refill, Channel.reconnect])
fates = st.tuples(st.sampled_from([A, B, OTHER]), st.sampled_from(["there", "there", "missed", "discarded"]))


@given(st.lists(st.tuples(st.lists(fates, max_size=20), ends), max_size=5))
def test_everything_is_handed_in_in_order_or_told(
    rounds: list[tuple[list[tuple[str, str]], Callable[[Channel], None]]],
) -> None:
    channel = Channel()
    for messages, end in rounds:
        for subject, fate in messages:
            channel.publish(subject, fate)
        end(channel)
    channel.refill()
    seen = channel.bench.seen
    assert seen == sorted(set(seen))
    assert channel.wanted <= set(seen) | channel.bench.log.told
    assert set(seen) <= channel.wanted

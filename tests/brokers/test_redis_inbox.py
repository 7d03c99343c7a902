"""The order in which a node gets what comes live and what is filled in, and how its interest is counted."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from broker_support import rising
from support import FakeClock, make
from tornado_sse import topic
from tornado_sse.brokers.base import Command
from tornado_sse.brokers.redis.codec import Entry
from tornado_sse.brokers.redis.inbox import OPENED, Inbox
from tornado_sse.brokers.redis.interest import Interest
from tornado_sse.message import Message
from tornado_sse.stats import Stats


class Log:
    """A receiver that notes everything in order."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.upto = 0

    def deliver(self, messages: Sequence[Message]) -> None:
        self.events.extend(message.sequence for message in messages)

    def reached(self, upto: int) -> None:
        self.upto = upto

    def obey(self, command: Command) -> None:
        self.events.append(command.user)

    def hear(self, words: bytes) -> None:
        raise NotImplementedError

    def lost(self, first: int, last: int) -> None:
        self.events.append((first, last))

    def renew(self, epoch: str, upto: int) -> None:
        raise NotImplementedError


def make_inbox(reached: int = 0) -> tuple[Inbox, Log]:
    log = Log()
    inbox = Inbox(log, Stats(), lambda at: at / 1000, FakeClock(1000.0))
    inbox.begin("e", reached)
    return inbox, log


def entry(sequence: int, body: bytes = b'{"to":["all"],"data":"x"}') -> Entry:
    return Entry("e", sequence, 999_000, 0, body)


def test_what_comes_twice_is_dropped() -> None:
    inbox, log = make_inbox(reached=2)
    inbox.take([entry(2), entry(3), entry(3), entry(5)])
    inbox.take([entry(4), entry(6)])
    assert (log.events, inbox.reached) == ([3, 5, 6], 6)


def test_what_is_filled_in_comes_before_what_was_held() -> None:
    inbox, log = make_inbox(reached=2)
    inbox.hold()
    inbox.take([entry(5), entry(8)])
    assert (log.events, inbox.waiting) == ([], 2)
    make(inbox.fill([entry(1), entry(3), entry(5), entry(9)], upto=7, lost=0))
    assert (log.events, inbox.waiting) == ([3, 5, 8], 0)


def test_what_comes_while_a_hole_is_filled_waits_for_its_turn() -> None:
    inbox, log = make_inbox()
    inbox.hold()
    inbox.take([entry(2 * OPENED)])
    filling = inbox.fill([entry(number) for number in range(1, 2 * OPENED)], upto=2 * OPENED - 1, lost=0)
    for number, _ in enumerate(filling):
        inbox.take([entry(2 * OPENED + 1 + number)])
        inbox.reach(1000)
        if number == 4:
            break
    make(filling)
    assert log.events == list(range(1, 2 * OPENED + 6))
    assert (inbox.waiting, log.upto) == (0, 2 * OPENED + 5)


def test_what_is_gone_is_told_behind_what_is_left_of_it() -> None:
    inbox, log = make_inbox(reached=2)
    inbox.hold()
    make(inbox.fill([entry(3), entry(6)], upto=7, lost=5))
    assert log.events == [3, (3, 5), 6]


def test_nothing_above_what_is_complete_is_told_as_gone() -> None:
    inbox, log = make_inbox()
    inbox.hold()
    make(inbox.fill([], upto=7, lost=9))
    assert log.events == [(1, 7)]


def test_what_is_known_to_be_complete_is_told_unless_a_hole_is_open() -> None:
    inbox, log = make_inbox(reached=2)
    inbox.reach(4)
    assert (inbox.reached, log.upto) == (4, 4)
    inbox.hold()
    inbox.reach(6)
    assert (inbox.reached, log.upto) == (4, 4)
    make(inbox.fill([entry(5)], upto=8, lost=0))
    assert (inbox.reached, log.upto) == (8, 8)


def test_commands_keep_their_place() -> None:
    inbox, log = make_inbox()
    command = b'{"to":["commands"],"data":"{\\"user\\":\\"u\\"}"}'
    inbox.take([entry(1), entry(2, command), entry(3)])
    assert log.events == [1, "u", 3]


def test_what_is_malformed_is_counted_and_passed_over() -> None:
    inbox, log = make_inbox()
    inbox.take([entry(1, b"{}"), entry(2)])
    assert (log.events, inbox._stats.messages_malformed) == ([2], 1)


def test_a_message_past_its_time_is_delivered_live_but_not_from_history() -> None:
    inbox, log = make_inbox()
    brief = b'{"to":["all"],"data":"x","ttl":0.5}'
    inbox.take([entry(1, brief)])
    inbox.hold()
    make(inbox.fill([entry(2, brief), entry(3)], upto=3, lost=0))
    assert log.events == [1, 3]
    assert [message.sequence for message in inbox.past([entry(2, brief), entry(3)])] == [3]


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 30), max_size=6)), max_size=12))
def test_positions_never_go_back(steps: list[tuple[bool, list[int]]]) -> None:
    inbox, log = make_inbox()
    for fills, numbers in steps:
        entries = [entry(number) for number in sorted(numbers)]
        if fills:
            inbox.hold()
            make(inbox.fill(entries, upto=max(numbers, default=0), lost=0))
        else:
            inbox.take(entries)
    assert rising([number for number in log.events if isinstance(number, int)])


# Interest

A, B = topic.user("a"), topic.user("b")


def test_interest_is_told_when_it_begins_and_ends() -> None:
    interest = Interest()
    interest.add([A, B])
    interest.add([A])
    assert interest.changes() == ([A, B], [])
    interest.remove([A, B])
    assert interest.changes() == ([], [B])
    assert list(interest) == [A]
    interest.remove([A])
    assert interest.changes() == ([], [A])
    assert interest.changes() == ([], [])


def test_what_changed_back_is_not_told() -> None:
    interest = Interest()
    interest.add([A])
    interest.remove([A])
    assert interest.changes() == ([], [])
    interest.add([A])
    interest.changes()
    interest.remove([A])
    interest.add([A])
    assert interest.changes() == ([], [])


def test_an_engine_that_is_new_is_told_everything() -> None:
    interest = Interest()
    interest.add([A, B])
    interest.changes()
    interest.remove([B])
    interest.begin()
    assert interest.changes() == ([A], [])

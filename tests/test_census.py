"""The census: what nodes tell each other of their users' streams, over a line that may lose some of it."""

import random
from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest

from support import FakeClock
from tornado_sse.census import FORGOTTEN, FRESH, INTERVAL, REPORT, Census, Malformed, Report


class Node:
    """A node, as far as the census knows it: its users' streams, and what it is to end."""

    def __init__(self, name: str, clock: FakeClock, cap: int = 2) -> None:
        self.streams: Counter[str] = Counter()
        self.ended: list[str] = []
        self.census = Census(name, lambda user: self.streams[user], clock)
        self.census.begin(cap, ())

    def open(self, user: str, count: int = 1) -> None:
        self.streams[user] += count
        self.census.note(user)


class Hub:
    """Nodes, and time that passes for them."""

    def __init__(self, nodes: int = 2, cap: int = 2) -> None:
        self.clock = FakeClock()
        self.nodes = [Node(f"n{number}", self.clock, cap) for number in range(nodes)]
        self.carried: list[bytes] = []

    def turn(self, heard_by: Iterable[Node] | None = None) -> None:
        """Have every node report once."""
        self.clock.advance(INTERVAL)
        for node in self.nodes:
            for report in node.census.reports():
                self.carried.append(report)
                for other in self.nodes if heard_by is None else heard_by:
                    other.ended += other.census.hear(report)

    def settle(self) -> None:
        for _ in range(4):
            self.turn()
        self.carried.clear()


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.settle()
    return hub


def test_streams_elsewhere_are_known_after_a_report(hub: Hub) -> None:
    one, two = hub.nodes
    one.open("u", 2)
    two.open("u")
    hub.turn()
    assert (one.census.elsewhere("u"), two.census.elsewhere("u"), two.census.elsewhere("v")) == (1, 2, 0)
    one.open("u", -2)
    hub.turn()
    assert two.census.elsewhere("u") == 0


def test_who_has_nothing_to_tell_says_nothing(hub: Hub) -> None:
    hub.turn()
    assert hub.carried == []
    hub.nodes[0].open("u")
    hub.nodes[0].open("u", -1)
    hub.turn()
    assert hub.carried == []


@pytest.mark.parametrize(
    ("cap", "count", "known"), [(1, 1, 1), (7, 1, 1), (8, 1, 0), (8, 2, 2), (32, 4, 0), (32, 5, 5)]
)
def test_who_has_few_of_many_is_not_told(cap: int, count: int, known: int) -> None:
    hub = Hub(cap=cap)
    hub.settle()
    hub.nodes[0].open("u", count)
    hub.turn()
    assert hub.nodes[1].census.elsewhere("u") == known
    assert bool(hub.carried) is bool(known)


def test_a_node_that_is_not_heard_of_does_not_count_until_it_is(hub: Hub) -> None:
    one, two = hub.nodes
    one.open("u")
    hub.turn()
    hub.clock.advance(FRESH)
    assert two.census.elsewhere("u") == 0
    hub.turn()
    assert two.census.elsewhere("u") == 1
    hub.clock.advance(FORGOTTEN)
    two.census.reports()
    hub.turn()  # nobody knows it any more: it is asked
    hub.turn()
    assert two.census.elsewhere("u") == 1


def test_where_a_report_is_missing_everything_is_told_anew(hub: Hub) -> None:
    one, two = hub.nodes
    one.open("u")
    one.open("v", 2)
    hub.turn()
    one.open("v", -1)
    hub.turn(heard_by=[])
    hub.turn()
    assert (two.census.elsewhere("u"), two.census.elsewhere("v")) == (0, 0), "rather too few than too many"
    hub.turn()
    hub.turn()
    assert (two.census.elsewhere("u"), two.census.elsewhere("v")) == (1, 1)


def test_what_could_not_be_sent_is_told_again(hub: Hub) -> None:
    one, two = hub.nodes
    one.open("u")
    one.census.reports()
    one.census.miss()
    hub.turn()
    assert two.census.elsewhere("u") == 1


def test_who_joins_is_told_what_there_is(hub: Hub) -> None:
    hub.nodes[0].open("u", 2)
    hub.turn()
    late = Node("late", hub.clock)
    hub.nodes.append(late)
    hub.turn()
    hub.turn()
    assert late.census.elsewhere("u") == 2


def test_many_users_go_in_several_reports() -> None:
    hub = Hub()
    for number in range(2 * REPORT + 1):
        hub.nodes[0].open(f"u{number}")
    hub.turn()
    assert len(hub.carried) == 3 + 1
    assert all(hub.nodes[1].census.elsewhere(f"u{number}") == 1 for number in range(2 * REPORT + 1))


def test_another_cap_is_another_count(hub: Hub) -> None:
    one, two = hub.nodes
    for user, count in (("u", 1), ("v", 2)):
        one.open(user, count)
    for cap, known in ((8, (0, 2)), (2, (1, 2)), (0, (0, 0))):
        one.census.begin(cap, ["u", "v"])
        hub.turn()
        assert (two.census.elsewhere("u"), two.census.elsewhere("v")) == known
    one.open("u")
    hub.turn()
    assert two.census.elsewhere("u") == 0, "without a cap nothing is counted"


def test_the_node_with_most_of_a_users_streams_ends_its_oldest() -> None:
    hub = Hub(nodes=3, cap=4)
    hub.settle()
    few, many, new = hub.nodes
    few.open("u", 1)
    many.open("u", 3)
    hub.turn()
    assert not new.census.replace("u", here=3), "as many are here"
    assert new.census.replace("u", here=0)
    assert new.census.elsewhere("u") == 3, "the next one reckons with it"
    assert new.census.replace("u", here=1)
    assert not new.census.replace("u", here=2)
    hub.turn()
    assert (few.ended, many.ended, new.ended) == ([], ["u", "u"], [])
    hub.turn()
    assert many.ended == ["u", "u"], "it is said once"


def test_nobody_else_is_nobody_to_end_one() -> None:
    assert not Hub(nodes=1).nodes[0].census.replace("u", here=0)


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"node": "n", "number": "1"}',
        b'{"node": 1, "number": 1}',
        b'{"more":' + b"[" * 100_000,
    ],
)
def test_what_is_no_report_is_malformed(hub: Hub, words: bytes) -> None:
    with pytest.raises(Malformed):
        hub.nodes[0].census.hear(words)


def test_what_a_later_version_adds_is_passed_over(hub: Hub) -> None:
    words = msgspec.json.encode({"node": "n9", "number": 5, "whole": True, "counts": {"u": 3}, "more": 1})
    assert hub.nodes[0].census.hear(words) == []
    assert hub.nodes[0].census.elsewhere("u") == 3
    assert msgspec.json.decode(words, type=Report).number == 5


@pytest.mark.parametrize("seed", range(20))
def test_after_any_losses_the_counts_come_right(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable, guards nothing
    hub = Hub(nodes=4, cap=3)
    for _ in range(60):
        node, user = chance.choice(hub.nodes), chance.choice("uvw")
        node.open(user, chance.choice([1, 2]) if not node.streams[user] else -1)
        hub.turn(heard_by=[other for other in hub.nodes if chance.random() < 0.7])
    for _ in range(4):
        hub.turn()
    for node in hub.nodes:
        for user in "uvw":
            others = sum(other.streams[user] for other in hub.nodes if other is not node)
            assert node.census.elsewhere(user) == others

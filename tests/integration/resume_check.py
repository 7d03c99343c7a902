"""The judge of a storm: holds what each client got against what the publishers' receipts say."""

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from resume_load import Ledger, Target
from resume_support import Client, Connection
from sse_parser import Block


@dataclass(frozen=True)
class Gap:
    """A hole as told: sequences above `after` up to `to`."""

    after: int
    to: int


@dataclass(frozen=True)
class Message:
    """A message as it arrived."""

    sequence: int
    name: str
    data: str


class Judge:
    """Knows what was published. `history_size` is what the server keeps of each topic."""

    def __init__(self, ledger: Ledger, history_size: int) -> None:
        assert len(ledger.epochs) == 1, "history was lost"
        self._ledger = ledger
        self._topics = ledger.by_topic()
        self._history_size = history_size

    def holes(self, client: Client) -> int:
        """Return how many messages the client did not get, each of them covered by a gap that came before the next.

        Raises AssertionError for a silent hole, a message that came twice, out of order, changed, or to the wrong one.
        """
        due = iter(self._expected(client))
        gaps: list[Gap] = []
        missed = 0
        for told in _story(client):
            if isinstance(told, Gap):
                gaps.append(told)
                continue
            for sequence in due:
                if sequence == told.sequence:
                    break
                covered = any(gap.after < sequence <= gap.to for gap in reversed(gaps))
                assert covered, f"{sequence} is missing before {told.sequence}, and no gap says so"
                missed += 1
            else:
                raise AssertionError(f"{told.sequence} came twice, late, or to the wrong client")
            self._compare(told)
        assert next(due, None) is None, "the end is missing"
        return missed

    def _expected(self, client: Client) -> list[int]:
        first = next(block.id for connection in client.connections for block in connection.blocks if block.id)
        return self._listened(client.topics, self._ledger.sequence(first), max(self._ledger.messages))

    def _listened(self, topics: list[Target], after: int, upto: int) -> list[int]:
        found = (self._topics[topic][slice(*self._span(topic, after, upto))] for topic in topics)
        return sorted(set().union(*found))

    def _span(self, topic: Target, after: int, upto: int) -> tuple[int, int]:
        sequences = self._topics[topic]
        return bisect_right(sequences, after), bisect_right(sequences, upto)

    def _compare(self, told: Message) -> None:
        published = self._ledger.messages[told.sequence]
        assert (told.name, told.data) == (published.name, published.data), f"{told.sequence} was changed"

    def check_openings(self, client: Client) -> int:
        """Hold each resume against what the server had at that very position; return how many could be.

        Exactly what was kept is replayed, and a gap is told if and only if a message of the client's topics was gone.
        """
        openings = [opening for connection in client.connections if (opening := _opening(connection))]
        for opening in openings:
            self._check_opening(client.topics, opening)
        return len(openings)

    def _check_opening(self, topics: list[Target], opening: "Opening") -> None:
        lost = max(self._lost(topic, opening.upto) for topic in topics)
        due = [Gap(opening.after, lost)] if lost > opening.after else []
        assert opening.gaps == due, f"{lost} was lost, and {opening.after} told of {opening.gaps}"
        kept: set[int] = set()
        for topic in topics:
            begin, end = self._span(topic, opening.after, opening.upto)
            kept.update(self._topics[topic][max(begin, end - self._history_size) : end])
        assert opening.messages == sorted(kept), f"the replay after {opening.after} is not what was kept"

    def _lost(self, topic: Target, upto: int) -> int:
        _, end = self._span(topic, 0, upto)
        return self._topics[topic][end - self._history_size - 1] if end > self._history_size else 0


@dataclass(frozen=True)
class Opening:
    """What a resume began with, seen whole: after which position it was, and up to which it was complete."""

    after: int
    upto: int
    gaps: list[Gap]
    messages: list[int]


def _opening(connection: Connection) -> Opening | None:
    """Read a resume up to the id-only block that ends the replay; None if it was cut before, or a first connect."""
    if not connection.after:
        return None
    gaps: list[Gap] = []
    messages: list[int] = []
    for index, block in enumerate(connection.blocks):
        if block.data is None and block.id is not None and index > 0:
            return Opening(_sequence(connection.after), _sequence(block.id), gaps, messages)
        told = _told(block)
        if isinstance(told, Gap):
            gaps.append(told)
        elif told is not None:
            messages.append(told.sequence)
    return None


def _story(client: Client) -> Iterator[Gap | Message]:
    for connection in client.connections:
        for block in connection.blocks:
            if (told := _told(block)) is not None:
                yield told


def _told(block: Block) -> Gap | Message | None:
    if block.data is None:
        return None
    if block.name == "stream-gap":
        gap = json.loads(block.data)
        assert gap["reason"] in {"evicted", "slow"}, gap
        return Gap(_sequence(gap["from"]), _sequence(gap["to"]))
    if block.name.startswith("stream-"):
        assert json.loads(block.data) == {"reason": "slow", "reconnect": True}, block
        return None
    assert block.id, "a message without position"
    return Message(_sequence(block.id), block.name, block.data)


def _sequence(position: str) -> int:
    return int(position.partition("-")[2])

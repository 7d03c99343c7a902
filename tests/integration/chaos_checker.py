"""The judge of a chaos run: holds the whole history of publishes against what each client saw. Pure.

Each client is owed every acknowledged message of its topics, above the position it began with and up to the last
message of the run: once, in order, unchanged; or a gap that covers what is missing, and nothing else. A message that
nobody acknowledged may come, once and in order, or not.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from chaos_history import Account, Gap, Received, Sent
from tornado_sse.position import Position

if TYPE_CHECKING:
    from tornado_sse.topic import Topic


class Fault(StrEnum):
    """What can be wrong."""

    LOST = "lost"
    """An acknowledged message never came, and no gap says so."""
    DUPLICATED = "duplicated"
    """A message came twice, or a position was given twice."""
    REORDERED = "reordered"
    """A message came behind one of a higher position."""
    MISPLACED = "misplaced"
    """A message came at another position than the one acknowledged."""
    MISDIRECTED = "misdirected"
    """A message came to a client that it was not for, or that nobody sent so."""
    NEEDLESS = "needless gap"
    """A gap was told, and nothing is missing in it."""
    WIDE = "wide gap"
    """A gap covers what is missing, and something that came."""
    EPOCH = "another epoch"
    """Positions of more than one epoch, while history was never lost."""
    STUCK = "stuck"
    """A client that did not get the last message of all."""


class Complaint(NamedTuple):
    """One thing that is wrong, and with whom: a client's name, or `publishing`."""

    fault: Fault
    who: str
    text: str


@dataclass
class Verdict:
    """What came of it."""

    complaints: list[Complaint] = field(default_factory=list)
    received: int = 0
    owed: int = 0
    gaps: int = 0
    told: int = 0
    """Messages that are missing, and covered by a gap."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.complaints

    def counts(self) -> dict[Fault, int]:
        """How many of each fault there are, none included."""
        found = Counter(complaint.fault for complaint in self.complaints)
        return {fault: found[fault] for fault in Fault}


class _Seen:
    """What one client saw, sorted out."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.received = [event for event in account.events if isinstance(event, Received)]
        self.gaps = [event for event in account.events if isinstance(event, Gap)]
        self.sequences = {one.position.sequence for one in self.received}
        self.data = {one.data for one in self.received}


class Checker:
    """Knows what was published. `last` is the position of the message that ends the run; it goes to all."""

    def __init__(self, sent: Iterable[Sent], last: Position) -> None:
        self._last = last
        self._by_data = {one.data: one for one in sent}
        self._by_topic: defaultdict[Topic, list[int]] = defaultdict(list)
        self._data: dict[int, str] = {}
        self._publishing: list[Complaint] = []
        for one in self._by_data.values():
            if one.position:
                self._enter(one, one.position)
        for sequences in self._by_topic.values():
            sequences.sort()

    def check(self, accounts: Iterable[Account]) -> Verdict:
        """Judge them all."""
        verdict = Verdict(list(self._publishing))
        for account in accounts:
            self._judge(_Seen(account), verdict)
        return verdict

    def _enter(self, one: Sent, position: Position) -> None:
        if position.epoch != self._last.epoch:
            self._publishing.append(Complaint(Fault.EPOCH, "publishing", f"{position} was acknowledged"))
            return
        if other := self._data.get(position.sequence):
            text = f"{position} was given to {other} and to {one.data}"
            self._publishing.append(Complaint(Fault.DUPLICATED, "publishing", text))
        self._data[position.sequence] = one.data
        for topic in one.targets:
            self._by_topic[topic].append(position.sequence)

    def _judge(self, seen: _Seen, verdict: Verdict) -> None:
        owed = self._owed(seen.account)
        missing = [sequence for sequence in owed if sequence not in seen.sequences]
        uncovered = [sequence for sequence in missing if not any(_covers(gap, sequence) for gap in seen.gaps)]
        verdict.received += len(seen.received)
        verdict.owed += len(owed)
        verdict.gaps += len(seen.gaps)
        verdict.told += len(missing) - len(uncovered)
        faults = [*self._wrong_messages(seen), *self._wrong_gaps(seen, missing)]
        faults += [(Fault.LOST, f"{sequence} {self._data[sequence]}") for sequence in uncovered]
        if not seen.account.finished:
            faults.append((Fault.STUCK, f"after {seen.account.events[-1:]}"))
        verdict.complaints += [Complaint(fault, seen.account.name, text) for fault, text in faults]

    def _owed(self, account: Account) -> list[int]:
        if account.begin is None or account.begin.epoch != self._last.epoch:
            return []
        begin, end = account.begin.sequence, self._last.sequence
        found = [self._by_topic.get(topic, []) for topic in account.topics]
        return sorted({n for every in found for n in every[bisect_right(every, begin) : bisect_right(every, end)]})

    def _wrong_messages(self, seen: _Seen) -> Iterator[tuple[Fault, str]]:
        begin = seen.account.begin or Position(self._last.epoch, 0)
        if begin.epoch != self._last.epoch:
            yield Fault.EPOCH, f"began with {begin}"
        before: set[str] = set()
        highest = begin.sequence
        for one in seen.received:
            if fault := self._fault_of(one, seen.account, before, highest):
                yield fault, f"{one.position} {one.data}, behind {highest}"
            before.add(one.data)
            highest = max(highest, one.position.sequence)

    def _fault_of(self, one: Received, account: Account, before: set[str], highest: int) -> Fault | None:
        sent = self._by_data.get(one.data)
        if sent is None or account.topics.isdisjoint(sent.targets):
            return Fault.MISDIRECTED
        if one.position.epoch != self._last.epoch:
            return Fault.EPOCH
        if one.data in before:
            return Fault.DUPLICATED
        if sent.position not in (None, one.position):
            return Fault.MISPLACED
        return Fault.REORDERED if one.position.sequence <= highest else None

    def _wrong_gaps(self, seen: _Seen, missing: Sequence[int]) -> Iterator[tuple[Fault, str]]:
        for gap in seen.gaps:
            text = f"above {gap.after} up to {gap.to} ({gap.reason})"
            if not any(_covers(gap, sequence) for sequence in missing) and not self._may_miss_more(seen):
                yield Fault.NEEDLESS, text
            elif any(_covers(gap, sequence) for sequence in seen.sequences):
                yield Fault.WIDE, text

    def _may_miss_more(self, seen: _Seen) -> bool:
        """Whether something for the client may have gone that nobody acknowledged, and that did not come."""
        unknown = (one for one in self._by_data.values() if one.position is None)
        return any(one.data not in seen.data and not seen.account.topics.isdisjoint(one.targets) for one in unknown)


def _covers(gap: Gap, sequence: int) -> bool:
    return (gap.after.sequence if gap.after else 0) < sequence <= gap.to.sequence

"""The census: how many streams of a user the other nodes have, so that a cap holds for all nodes together.

Nodes tell each other counts, in reports that are numbered and may be lost. What a node said counts while it is heard
of; from where a report is missing nothing of it counts until it has told everything anew. So what is not known lets a
stream in, and never keeps one out.
"""

from collections.abc import Callable, Iterable, Iterator
from math import inf

import msgspec

INTERVAL = 0.25
"""Seconds between two reports."""

FRESH = 1.0
"""Seconds for which a node counts that is not heard of: less than a client whose node died waits, by default."""

FORGOTTEN = 60.0
"""Seconds until it is forgotten."""

UNTOLD = 8
"""A user who has at most the cap divided by this on a node is not reported: nearly all users there are."""

REPORT = 1000
"""Users in one report, so that it stays far below a MiB."""


class Malformed(ValueError):
    """A report that can't be read. It did not come from a node."""


class Report(msgspec.Struct, omit_defaults=True):
    """What a node says: `counts` of users that changed, or of all that count if `whole`.

    `ask`: everybody is to tell everything. `replaced`: nodes, and of which user each is to end its oldest stream.
    """

    node: str
    number: int
    counts: dict[str, int] = {}
    whole: bool = False
    ask: bool = False
    replaced: list[tuple[str, str]] = []


class _Other:
    """Another node: its counts, the number of its last report, and when that was heard."""

    __slots__ = ("counts", "heard", "number")

    def __init__(self, number: int) -> None:
        self.counts: dict[str, int] = {}
        self.number = number
        self.heard = -inf


class Census:
    """What this node tells, and what it was told. `count` gives how many streams a user has here."""

    def __init__(self, node: str, count: Callable[[str], int], clock: Callable[[], float]) -> None:
        self._node = node
        self._count = count
        self._clock = clock
        self._cap = 0
        self._number = 0
        self._changed: set[str] = set()
        self._told: dict[str, int] = {}
        self._others: dict[str, _Other] = {}
        self._replaced: list[tuple[str, str]] = []
        self.miss()

    def begin(self, cap: int, users: Iterable[str]) -> None:
        """Count for a cap, 0: none, beginning with those users who have streams here."""
        self._cap = cap
        self._changed.update(self._told, users)

    def note(self, user: str) -> None:
        """Note that the user's streams here are more or fewer now."""
        if self._cap:
            self._changed.add(user)

    def elsewhere(self, user: str) -> int:
        """Return how many streams the user is known to have on other nodes."""
        if not self._others:
            return 0
        return sum(other.counts.get(user, 0) for _, other in self._fresh())

    def replace(self, user: str, here: int) -> bool:
        """Have the node that has most of the user's streams end its oldest, unless `here` are as many."""
        node, other = max(self._fresh(), key=lambda one: one[1].counts.get(user, 0), default=("", _Other(0)))
        count = other.counts.get(user, 0)
        if count <= here:
            return False
        other.counts[user] = count - 1
        self._replaced.append((node, user))
        return True

    def miss(self) -> None:
        """Tell and ask for everything: what was said may not have been heard, in both directions."""
        self._ask = self._asked = True

    def reports(self) -> list[bytes]:
        """Return what is to be told now."""
        self._forget()
        news = self._news()
        whole, self._asked = self._asked, False
        ask, self._ask = self._ask, False
        replaced, self._replaced = self._replaced, []
        if not (self._told or news or whole or ask or replaced):
            return []
        first, *more = _parts(self._told if whole else news)
        reports = [Report(self._node, 0, first, whole, ask, replaced), *(Report(self._node, 0, part) for part in more)]
        for report in reports:
            self._number += 1
            report.number = self._number
        return [msgspec.json.encode(report) for report in reports]

    def hear(self, words: bytes) -> list[str]:
        """Take a report; return the users of whom a stream is to be ended, once for each. Raises Malformed."""
        report = _read(words)
        if report.node == self._node:
            return []
        self._asked |= report.ask
        other = _Other(report.number - 1) if report.whole else self._others.pop(report.node, None)
        if other and report.number == other.number + 1:
            self._others[report.node] = other
            self._take(other, report)
        else:
            self._ask = True
        return [user for node, user in report.replaced if node == self._node]

    def _take(self, other: _Other, report: Report) -> None:
        other.number, other.heard = report.number, self._clock()
        other.counts.update(report.counts)
        for user, count in report.counts.items():
            if count <= 0:
                del other.counts[user]

    def _news(self) -> dict[str, int]:
        changed, self._changed = self._changed, set()
        counts = {user: self._worth_telling(user) for user in changed}
        news = {user: count for user, count in counts.items() if count != self._told.get(user, 0)}
        self._told.update(news)
        for user in news:
            if not self._told[user]:
                del self._told[user]
        return news

    def _worth_telling(self, user: str) -> int:
        count = self._count(user) if self._cap else 0
        return count if count > self._cap // UNTOLD else 0

    def _fresh(self) -> Iterator[tuple[str, _Other]]:
        oldest = self._clock() - FRESH
        return ((node, other) for node, other in self._others.items() if other.heard > oldest)

    def _forget(self) -> None:
        oldest = self._clock() - FORGOTTEN
        for node in [node for node, other in self._others.items() if other.heard < oldest]:
            del self._others[node]


def _parts(counts: dict[str, int]) -> Iterator[dict[str, int]]:
    users = list(counts)
    for start in range(0, max(1, len(users)), REPORT):
        yield {user: counts[user] for user in users[start : start + REPORT]}


_decoder = msgspec.json.Decoder(Report)


def _read(words: bytes) -> Report:
    try:
        return _decoder.decode(words)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise Malformed(str(error)) from error

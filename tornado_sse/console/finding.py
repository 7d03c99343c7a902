"""Finding streams among very many: a stride at a time, so that nothing else waits for it."""

import re
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Protocol

from tornado_sse.console.operations import Column, Find, Page, Row


class Backlog(Protocol):
    """What waits for a client, in bytes."""

    bytes: int


class Listed(Protocol):
    """A stream, as far as it is told of. `opened_at` is monotonic."""

    user: str
    session: str
    address: str
    channels: tuple[str, ...]
    opened_at: float
    sent: int
    is_ended: bool

    @property
    def outbox(self) -> Backlog | None:
        """What waits for its client, if anything does."""


_SHORTENED = re.compile("[0-9a-f]{8}")


class Finder:
    """Answers one Find. `shorten` is how a session id is shown, `now` is monotonic."""

    def __init__(self, wanted: Find, shorten: Callable[[str], str], now: float) -> None:
        self._wanted = wanted
        self._shorten = shorten
        self._now = now
        self._needle = wanted.search.strip().casefold()
        self._session = self._needle if _SHORTENED.fullmatch(self._needle) else None
        self._found = 0
        self._best: list[tuple[Any, Listed]] = []

    def look_at(self, streams: Iterable[Listed]) -> None:
        """Take the next streams, which are in the order of their opening."""
        value = _VALUES[self._wanted.sort]
        new = [(value(stream), stream) for stream in streams if self._matches(stream)]
        self._found += len(new)
        self._best = _first(self._best + new, self._wanted)

    def page(self) -> Page:
        """Return what was found."""
        return Page(self._found, [self._row(stream) for _, stream in self._best[self._wanted.offset :]])

    def _matches(self, stream: Listed) -> bool:
        if stream.is_ended:
            return False
        needle = self._needle
        return (
            not needle
            or needle in stream.user.casefold()
            or needle in stream.address
            or (self._session is not None and self._shorten(stream.session) == self._session)
        )

    def _row(self, stream: Listed) -> Row:
        return Row(
            stream.user,
            self._shorten(stream.session),
            stream.address,
            len(stream.channels),
            round(self._now - stream.opened_at, 3),
            stream.sent,
            _waiting(stream),
        )


def _waiting(stream: Listed) -> int:
    return stream.outbox.bytes if stream.outbox is not None else 0


_VALUES: dict[Column, Callable[[Listed], Any]] = {
    "user": lambda stream: stream.user.casefold(),
    "address": lambda stream: stream.address,
    "age": lambda stream: -stream.opened_at,
    "sent": lambda stream: stream.sent,
    "backlog": _waiting,
}


def _first(entries: list[tuple[Any, Any]], wanted: Find) -> list[tuple[Any, Any]]:
    return sorted(entries, key=itemgetter(0), reverse=wanted.descending)[: wanted.offset + wanted.limit]


def joined(pages: Sequence[Page], wanted: Find) -> Page:
    """Join the first pages of several processes, each from its first row on, into the page wanted of all."""
    rows = [(_cell(row, wanted.sort), row) for page in pages for row in page.rows]
    return Page(sum(page.found for page in pages), [row for _, row in _first(rows, wanted)[wanted.offset :]])


def _cell(row: Row, column: Column) -> Any:  # noqa: ANN401 - a text or a number: what sorts
    cell = getattr(row, column)
    return cell.casefold() if isinstance(cell, str) else cell

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from tornado_sse.console.finding import Finder, joined
from tornado_sse.console.operations import DEEPEST, Find, Page


@dataclass
class Backlog:
    bytes: int


@dataclass
class FakeStream:
    user: str
    session: str = "s"
    address: str = "192.0.2.1"
    channels: tuple[str, ...] = ()
    opened_at: float = 0.0
    sent: int = 0
    is_ended: bool = False
    outbox: Backlog | None = field(default=None)


def shorten(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()[:8]


STREAMS = [
    FakeStream("Anna", "one", "192.0.2.7", ("a", "b"), 1.0, 5),
    FakeStream("bert", "two", "192.0.2.30", (), 2.0, 7, outbox=Backlog(100)),
    FakeStream("anna", "three", "2001:db8::1", (), 3.0, 1, outbox=Backlog(0)),
    FakeStream("carla", "four", "192.0.2.7", (), 4.0, 9, is_ended=True),
    FakeStream("Dora", "five", "192.0.2.7", (), 5.0, 3),
]


def find(*parts: list[FakeStream], **wanted: Any) -> Page:
    finder = Finder(Find(**wanted), shorten, now=10.0)
    for part in parts or (STREAMS[:2], STREAMS[2:]):
        finder.look_at(part)
    return finder.page()


def users(page: Page) -> list[str]:
    return [row.user for row in page.rows]


def test_a_row() -> None:
    row = find(search="bert").rows[0]
    assert msgspec.to_builtins(row) == {
        "user": "bert",
        "session": shorten("two"),
        "address": "192.0.2.30",
        "channels": 0,
        "age": 8.0,
        "sent": 7,
        "backlog": 100,
    }


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", ["Dora", "anna", "bert", "Anna"]),
        ("anna", ["anna", "Anna"]),
        ("  ANN ", ["anna", "Anna"]),
        ("192.0.2.7", ["Dora", "Anna"]),
        ("2001:DB8", ["anna"]),
        (shorten("five"), ["Dora"]),
        (shorten("five")[:7], []),
        ("carla", []),
    ],
)
def test_search(search: str, found: list[str]) -> None:
    page = find(search=search)
    assert (page.found, users(page)) == (len(found), found)


@pytest.mark.parametrize(
    ("sort", "ascending"),
    [
        ("user", ["Anna", "anna", "bert", "Dora"]),
        ("address", ["bert", "Anna", "Dora", "anna"]),
        ("age", ["Dora", "anna", "bert", "Anna"]),
        ("sent", ["anna", "Dora", "Anna", "bert"]),
        ("backlog", ["Anna", "anna", "Dora", "bert"]),
    ],
)
def test_sort(sort: str, ascending: list[str]) -> None:
    assert users(find(sort=sort)) == ascending
    assert users(find(sort=sort, descending=True))[0] in (ascending[-1], "Anna")


def test_pages() -> None:
    assert users(find(sort="sent", limit=2)) == ["anna", "Dora"]
    assert users(find(sort="sent", limit=2, offset=2)) == ["Anna", "bert"]
    beyond = find(offset=4)
    assert (beyond.found, beyond.rows) == (4, [])


def test_pages_of_several_processes() -> None:
    wanted = Find(sort="user", offset=1, limit=2)
    pages = [find(STREAMS[:2], sort="user", limit=3), find(STREAMS[2:], sort="user", limit=3)]
    page = joined(pages, wanted)
    assert (page.found, users(page)) == (4, ["anna", "bert"])
    wanted = Find(sort="sent", descending=True, limit=1)
    pages = [find(part, sort="sent", descending=True, limit=1) for part in (STREAMS[:2], STREAMS[2:])]
    assert users(joined(pages, wanted)) == ["bert"]


def test_how_far_pages_go_is_bounded() -> None:
    assert msgspec.convert({"offset": str(DEEPEST)}, Find, strict=False).offset == DEEPEST
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"offset": str(DEEPEST + 1)}, Find, strict=False)

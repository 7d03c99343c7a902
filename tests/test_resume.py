"""Resume: what a last event id means, and what a stream begins with."""

import json
from typing import Any

import pytest

from support import Reader, dechunk, make_message, sequence_of
from tornado_sse import resume
from tornado_sse.brokers.base import Past
from tornado_sse.event import Encoding
from tornado_sse.message import Message
from tornado_sse.notices import GapReason
from tornado_sse.position import Position
from tornado_sse.resume import Gap, Request, Start, find_gap, opening

FIRST = Request(None, None)
UNKNOWN = Request(None, None, GapReason.UNKNOWN)
NOTHING = Past((), 9, 0)


@pytest.mark.parametrize(
    ("last_event_id", "request_", "resuming"),
    [
        (None, FIRST, False),
        ("", FIRST, False),
        ("e-5", Request("e-5", 5), True),
        ("e-0", Request("e-0", 0), True),
        ("e-999999999999", Request("e-999999999999", 999999999999), True),
        ("old-5", Request("old-5", 0, GapReason.EPOCH), True),
        ("garbage", UNKNOWN, True),
        ("E-5", UNKNOWN, True),
        ("e-5\r\n\r\ndata: x", UNKNOWN, True),
        ("\0", UNKNOWN, True),
        ("-", UNKNOWN, True),
        (" ", UNKNOWN, True),
        ("x" * 100_000, UNKNOWN, True),
    ],
)
def test_what_a_last_event_id_asks_for(
    last_event_id: str | None,
    request_: Request,
    resuming: bool,
) -> None:
    assert resume.read(last_event_id, "e") == request_
    assert request_.resuming is resuming


NOW = Position("e", 9)


@pytest.mark.parametrize("last_event_id", [None, "", "e-5", "e-99", "old-5", "garbage", "0", "\0"])
def test_who_is_sent_away_with_nothing_comes_back_to_be_told_the_same(last_event_id: str | None) -> None:
    first = resume.read(last_event_id, "e")
    assert resume.read(first.debt, "e") == first


@pytest.mark.parametrize(
    ("last_event_id", "past", "gap"),
    [
        (None, NOTHING, None),
        ("e-5", NOTHING, None),
        ("e-9", NOTHING, None),
        ("e-5", Past((make_message(7),), 9, 0), None),
        ("e-5", Past((make_message(9),), 9, 8), Gap("e-5", Position("e", 8), GapReason.EVICTED, Position("e", 5))),
        ("e-10", NOTHING, Gap("e-10", NOW, GapReason.UNKNOWN, NOW)),
        ("junk", NOTHING, Gap(None, NOW, GapReason.UNKNOWN, NOW)),
        ("old-3", NOTHING, Gap("old-3", Position("e", 0), GapReason.EPOCH, Position("e", 0))),
        ("old-99", Past((), 9, 4), Gap("old-99", Position("e", 4), GapReason.EPOCH, Position("e", 0))),
    ],
)
def test_holes_are_found(last_event_id: str | None, past: Past, gap: Gap | None) -> None:
    assert find_gap(resume.read(last_event_id, "e"), past, "e") == gap


def begin(last_event_id: str | None, past: Past, encoding: Encoding = Encoding.BARE) -> tuple[Reader, list[str]]:
    """Open a stream, and read what it begins with, and the last event id after each step of it."""
    request = resume.read(last_event_id, "e")
    steps = opening(request, past, find_gap(request, past, "e"), Start("e", 1500, encoding))
    reader, ids = Reader(), []
    for step in steps:
        data = step.frame.encoded(encoding) if isinstance(step, Message) else step
        reader.feed(data if encoding is Encoding.BARE else b"".join(dechunk(data)))
        ids.append(reader.last_id)
    return reader, ids


@pytest.mark.parametrize("encoding", [Encoding.BARE, Encoding.CHUNKED])
def test_a_first_connect_is_given_its_position_and_no_event(encoding: Encoding) -> None:
    reader, ids = begin(None, NOTHING, encoding)
    assert (reader.events, reader.retry, ids) == ([], 1500, ["e-9"])


@pytest.mark.parametrize("encoding", [Encoding.BARE, Encoding.CHUNKED])
def test_a_resume_is_given_what_it_missed(encoding: Encoding) -> None:
    reader, ids = begin("e-5", Past([make_message(6), make_message(8)], 9, 0), encoding)
    assert [sequence_of(event) for event in reader.events] == [6, 8]
    # Cut anywhere, the client asks again for exactly the rest.
    assert ids == ["e-5", "e-6", "e-8", "e-9"]
    assert reader.retry == 1500


def gap_of(reader: Reader) -> Any:
    (data,) = [event.data for event in reader.events if event.name == "stream-gap"]
    assert reader.events[0].data == data, "the gap comes first"
    return json.loads(data)


@pytest.mark.parametrize("encoding", [Encoding.BARE, Encoding.CHUNKED])
def test_a_resume_with_a_hole_is_told_first(encoding: Encoding) -> None:
    reader, ids = begin("e-5", Past([make_message(8)], 9, 7), encoding)
    assert gap_of(reader) == {"from": "e-5", "to": "e-7", "reason": "evicted"}
    assert [event.last_id for event in reader.events] == ["e-5", "e-8"]
    assert ids == ["e-5", "e-8", "e-9"]
    assert reader.retry == 1500


def test_a_resume_from_another_epoch_is_given_all_there_is() -> None:
    reader, ids = begin("old-7", Past([make_message(1), make_message(2)], 2, 0))
    assert gap_of(reader) == {"from": "old-7", "to": "e-0", "reason": "epoch"}
    assert ids == ["e-0", "e-1", "e-2", "e-2"]


@pytest.mark.parametrize(("last_event_id", "after"), [("junk\n\ndata: x", None), ("e-77", "e-77")])
def test_a_resume_from_nowhere_begins_now(last_event_id: str, after: str | None) -> None:
    reader, ids = begin(last_event_id, NOTHING)
    assert gap_of(reader) == {"from": after, "to": "e-9", "reason": "unknown"}
    assert ids == ["e-9", "e-9"]
    assert len(reader.events) == 1


@pytest.mark.parametrize(
    ("last_event_id", "ids"),
    [
        (None, ["e-9", "e-9"]),
        ("e-5", ["e-5", "e-5", "e-8", "e-9"]),
        ("old-7", ["old-7", "e-0", "e-8", "e-9"]),
        ("junk", ["0", "e-9", "e-9"]),
    ],
)
def test_who_is_told_its_channels_is_told_first_and_owed_the_same_after(
    last_event_id: str | None, ids: list[str]
) -> None:
    request = resume.read(last_event_id, "e")
    past = Past([make_message(8)] if request.after is not None else [], 9, 0)
    steps = opening(request, past, find_gap(request, past, "e"), Start("e", 1500, Encoding.BARE, ["a"]))
    reader, seen = Reader(), []
    for step in steps:
        reader.feed(step.frame.body if isinstance(step, Message) else step)
        seen.append(reader.last_id)
    assert (reader.events[0].name, json.loads(reader.events[0].data)) == (
        "stream-opened",
        {"channels": ["a"], "now": "e-9"},
    )
    assert seen == ids


@pytest.mark.parametrize("last_event_id", ["e-5", "e-999", "old-5", "garbage"])
def test_the_first_block_of_a_resume_has_an_id(last_event_id: str) -> None:
    # A client whose first block had none would forget its position (section 9.2.6), and come back as new.
    request = resume.read(last_event_id, "e")
    past = Past((), 9, 7)
    start = Start("e", 2000, Encoding.BARE)
    first, *_ = opening(request, past, find_gap(request, past, "e"), start)
    assert isinstance(first, bytes)
    assert b"id: " in first.partition(b"\n\n")[0]

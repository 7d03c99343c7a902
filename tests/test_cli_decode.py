from itertools import pairwise

import pytest
from httpx_sse._decoders import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from tornado_sse.cli.decode import Decoder, Event


def decoded(*chunks: bytes, last_event_id: str = "") -> tuple[list[Event], Decoder]:
    decoder = Decoder(last_event_id, 2.0)
    return [event for chunk in chunks for event in decoder.feed(chunk)], decoder


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [Event("message", "a", "")]),
        (b"data:a\ndata: b\ndata\n\n", [Event("message", "a\nb\n", "")]),
        (b"data:  a\n\n", [Event("message", " a", "")]),
        (b"event: order\nid: 7\ndata: {}\n\ndata: x\n\n", [Event("order", "{}", "7"), Event("message", "x", "7")]),
        (b"data:\n\n", [Event("message", "", "")]),
        (b"event: order\n\ndata: a\n\n", [Event("message", "a", "")]),
        (b": comment\n\nnonsense: x\nnonsense\n\n", []),
        (b"data: unfinished\n", []),
        (b"id: 1\nid\ndata: a\n\n", [Event("message", "a", "")]),
        (b"id: 1\nid: a\0b\ndata: a\n\n", [Event("message", "a", "1")]),
        (
            "data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\n\n".encode(),
            [Event("message", "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg", "")],
        ),
        (b"data: \xff\n\n", [Event("message", "\ufffd", "")]),
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\r", [Event("message", text, "") for text in "abc"]),
    ],
)
def test_events_are_those_of_the_standard(stream: bytes, events: list[Event]) -> None:
    assert decoded(stream)[0] == events
    assert decoded(*(stream[i : i + 1] for i in range(len(stream))))[0] == events


def test_a_line_that_ends_with_cr_is_complete_at_once() -> None:
    decoder = Decoder("", 2.0)
    assert list(decoder.feed(b"data: a\r\n\r")) == [Event("message", "a", "")]
    assert list(decoder.feed(b"\ndata: b\r\r")) == [Event("message", "b", "")]


def test_a_block_with_only_an_id_is_no_event_but_is_what_to_resume_from() -> None:
    events, decoder = decoded(b"retry: 1500\nid: e-5\n\n")
    assert events == []
    assert decoder.last_event_id == "e-5"
    assert decoder.retry == 1.5


def test_the_id_of_an_unfinished_block_does_not_count() -> None:
    _, decoder = decoded(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert decoder.last_event_id == "1"


def test_the_last_id_lasts_from_one_response_to_the_next() -> None:
    events, decoder = decoded(b": hello\n\ndata: a\n\n", last_event_id="e-5")
    assert events == [Event("message", "a", "e-5")]
    assert decoder.last_event_id == "e-5"


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "\u0661", "1" * 10])
def test_a_retry_that_is_no_number_is_ignored(value: str) -> None:
    assert decoded(f"retry: {value}\n\n".encode())[1].retry == 2.0


pieces = st.sampled_from(
    ["data", "id", "event", "retry", ":", " ", "\n", "\r", "\r\n", "\n\n", "a", "7", "\u2028", "é"]
)
streams = st.lists(pieces, max_size=60).map("".join).map(str.encode)


@given(streams, st.lists(st.integers(0, 100), max_size=8))
def test_where_the_bytes_are_cut_makes_no_difference(stream: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(places) if a < b]
    assert decoded(*chunks)[0] == decoded(stream)[0]


@given(streams)
def test_another_decoder_sees_the_same_events_with_data(stream: bytes) -> None:
    other = SSEDecoder()
    lines = stream.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    blocks = [block for line in lines if (block := other.decode(line)) is not None and block.data]
    assert [Event(block.event, block.data, block.id) for block in blocks] == [
        event for event in decoded(stream)[0] if event.data
    ]

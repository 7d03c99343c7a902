"""The wire format: whatever goes in is read back by parsers that are not ours, in every encoding."""

import random
import zlib

import pytest
from httpx_sse._decoders import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from support import Event, Reader, dechunk, read_events, split_lines
from tornado_sse.event import (
    GZIP_HEADER,
    KEEPALIVE,
    LAST_CHUNK,
    MAX_EVENT_NAME,
    RESERVED_PREFIX,
    Encoding,
    Frame,
    encode,
    encode_position,
    name_problem,
    to_chunk,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n\0: \ufeff\u2028\u2029\x0b\x0c\x1c\x85"))
NAMES = TEXT.filter(lambda name: name_problem(name) is None)
POSITIONS = st.from_regex(r"[0-9a-z]{1,8}-[0-9]{1,8}", fullmatch=True) | NAMES
RETRIES = st.none() | st.integers(0, 10**9)


def normalised(data: str) -> str:
    """Line ends as a client gives them to the page."""
    return data.replace("\r\n", "\n").replace("\r", "\n")


def read_by_httpx_sse(body: bytes) -> list[tuple[str, str, str, int | None]]:
    decoder = SSEDecoder()
    found = [decoder.decode(line) for line in split_lines(body.decode())]
    return [(event.data, event.event, event.id, event.retry) for event in found if event]


@given(TEXT, st.none() | NAMES, st.none() | POSITIONS, RETRIES)
def test_one_message_is_one_event_to_every_parser(
    data: str, name: str | None, position: str | None, retry: int | None
) -> None:
    body = encode(data, event=name, position=position, retry=retry)
    reader = Reader().feed(body)
    assert reader.events == [Event(normalised(data), name or "message", position or "")]
    assert reader.retry == retry
    assert read_by_httpx_sse(body) == [(normalised(data), name or "message", position or "", retry)]


@given(st.lists(st.tuples(TEXT, st.none() | NAMES, POSITIONS), max_size=8))
def test_messages_in_a_row_stay_apart(messages: list[tuple[str, str | None, str]]) -> None:
    body = b"".join(encode(data, event=name, position=position) for data, name, position in messages)
    expected = [Event(normalised(data), name or "message", position) for data, name, position in messages]
    assert read_events(body) == expected
    assert [Event(*event[:3]) for event in read_by_httpx_sse(body)] == expected


@pytest.mark.parametrize(
    ("data", "wire"),
    [
        ("", b"data: \n\n"),
        ("a", b"data: a\n\n"),
        (" a", b"data:  a\n\n"),
        ("a\nb", b"data: a\ndata: b\n\n"),
        ("a\rb", b"data: a\ndata: b\n\n"),
        ("a\r\nb", b"data: a\ndata: b\n\n"),
        ("a\n\rb", b"data: a\ndata: \ndata: b\n\n"),
        ("\n", b"data: \ndata: \n\n"),
        ("a\n", b"data: a\ndata: \n\n"),
        ("a\u2028b\x0bc\x85d", "data: a\u2028b\x0bc\x85d\n\n".encode()),
        ("id: 1\n\nevent: stream-closing", b"data: id: 1\ndata: \ndata: event: stream-closing\n\n"),
        ("\0", b"data: \0\n\n"),
        ("\ufeffa", b"data: \xef\xbb\xbfa\n\n"),
        ("😀", b"data: \xf0\x9f\x98\x80\n\n"),
    ],
)
def test_data_on_the_wire(data: str, wire: bytes) -> None:
    assert encode(data) == wire


def test_fields_on_the_wire() -> None:
    expected = b"retry: 1500\nevent: order\ndata: x\nid: e-7\n\n"
    assert encode("x", event="order", position="e-7", retry=1500) == expected
    assert encode("x", retry=0) == b"retry: 0\ndata: x\n\n"


@pytest.mark.parametrize("data", ["\ud800", "a\udfffb", "\ude00\ud83d"])
def test_lone_surrogates_never_reach_the_wire(data: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        encode(data)


@given(POSITIONS, RETRIES)
def test_a_position_alone_sets_the_id_and_dispatches_nothing(position: str, retry: int | None) -> None:
    reader = Reader().feed(encode_position(position, retry=retry))
    assert (reader.events, reader.last_id, reader.retry) == ([], position, retry)


def test_a_keepalive_is_a_comment() -> None:
    reader = Reader().feed(KEEPALIVE.body)
    assert (reader.events, reader.comments) == ([], 1)


@given(st.binary(min_size=1))
def test_a_frame_has_one_body_in_every_encoding(body: bytes) -> None:
    frame = Frame(body)
    assert frame.body == body
    assert frame.encoded(Encoding.BARE) == body
    assert dechunk(frame.encoded(Encoding.CHUNKED)) == [body]
    assert gunzip(GZIP_HEADER + frame.encoded(Encoding.GZIP)) == body


def test_compressed_bytes_are_made_once() -> None:
    frame = Frame(b"data: x\n\n")
    assert frame.encoded(Encoding.GZIP) is frame.encoded(Encoding.GZIP)
    assert frame.encoded(Encoding.CHUNKED) is frame.encoded(Encoding.CHUNKED)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=12), st.randoms(use_true_random=False))
def test_compressed_frames_fit_in_any_order_and_any_subset(bodies: list[bytes], order: random.Random) -> None:
    some = order.sample(bodies, order.randint(0, len(bodies)))
    stream = GZIP_HEADER + b"".join(Frame(body).encoded(Encoding.GZIP) for body in some)
    assert gunzip(stream) == b"".join(some)


def test_a_compressed_event_is_whole_as_soon_as_it_is_there() -> None:
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    parts = [GZIP_HEADER, Frame(b"data: 1\n\n").encoded(Encoding.GZIP), KEEPALIVE.encoded(Encoding.GZIP)]
    assert [decompressor.decompress(b"".join(dechunk(part))) for part in parts] == [b"", b"data: 1\n\n", b":\n\n"]


def gunzip(chunked: bytes) -> bytes:
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    return decompressor.decompress(b"".join(dechunk(chunked)))


def test_the_last_chunk_ends_the_body() -> None:
    assert dechunk(to_chunk(b"a") + LAST_CHUNK) == [b"a", b""]


@pytest.mark.parametrize("size", [1, 15, 16, 255, 256, 65536])
def test_a_chunk_says_its_size_in_hexadecimal(size: int) -> None:
    assert dechunk(to_chunk(b"\r" * size)) == [b"\r" * size]


@pytest.mark.parametrize("unsafe", ["\r", "\n", "\r\n", "\0", "\ud800"])
@pytest.mark.parametrize("place", ["{}", "{}order", "or{}der", "order{}"])
def test_names_that_would_end_the_field_are_refused(place: str, unsafe: str) -> None:
    # Without this a publisher could write an event of the server, or of another topic, into the stream.
    assert name_problem(place.format(unsafe)) == "must not contain CR, LF, NUL or lone surrogates"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("order", None),
        ("ordre é 😀: x", None),
        ("stream", None),
        ("Stream-gap", None),
        ("a" * MAX_EVENT_NAME, None),
        ("", "must not be empty"),
        ("a" * (MAX_EVENT_NAME + 1), "must be at most 128 characters long"),
        (RESERVED_PREFIX, "must not begin with stream-, which is reserved for the server"),
        ("stream-gap", "must not begin with stream-, which is reserved for the server"),
        ("stream-of-thought", "must not begin with stream-, which is reserved for the server"),
    ],
)
def test_names_of_events(name: str, problem: str | None) -> None:
    assert name_problem(name) == problem

"""What we encode, read by parsers that others wrote: one event a message, and nothing of it changed."""

import json
import re
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import httpx
import httpx_sse
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node_support import CLIENTS
from tornado_sse.event import RESERVED_PREFIX, encode

UNICODE = st.characters(exclude_categories=["Cs"])
ONE_LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1)
TRICKY = st.sampled_from(
    ["\r\n", "\r", "\n", "\u2028", "\u0085", "\x0b", "\0", "\ufeff", ":", " ", "data: ", "\n\nid: 9\n"]
)


class Event(NamedTuple):
    """An event as it is sent, and as it is to arrive."""

    name: str | None
    data: str
    id: str


events = st.builds(
    Event,
    name=ONE_LINE.filter(lambda name: not name.startswith(RESERVED_PREFIX)),
    data=st.lists(TRICKY | st.text(UNICODE)).map("".join),
    id=ONE_LINE,
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Event], list[bytes]]:
    """Draw events, and their bytes in chunks cut anywhere, in the middle of a character too."""
    sent = draw(st.lists(events, min_size=1, max_size=6))
    wire = b"".join(encode(event.data, event=event.name, position=event.id) for event in sent)
    cuts = draw(st.lists(st.integers(0, len(wire)), max_size=12))
    return sent, [wire[begin:end] for begin, end in pairwise([0, *sorted(cuts), len(wire)]) if begin < end]


def arriving(sent: list[Event]) -> list[Event]:
    """Line ends of any kind arrive as LF (WHATWG HTML section 9.2.6)."""
    return [event._replace(data=re.sub("\r\n?", "\n", event.data)) for event in sent]


Parse = Callable[[list[bytes]], list[Event]]


@pytest.fixture
def eventsource_parser(node: str) -> Iterator[Parse]:
    """Parse with npm's eventsource-parser, in one process for all examples."""
    command = [node, str(CLIENTS / "parse.mjs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def parse(chunks: list[bytes]) -> list[Event]:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([b64encode(chunk).decode() for chunk in chunks]) + "\n")
            process.stdin.flush()
            found = json.loads(process.stdout.readline())
            return [Event(event.get("event"), event["data"], event["id"]) for event in found]

        yield parse


def httpx_parser(chunks: list[bytes]) -> list[Event]:
    """Parse with Python's httpx-sse."""
    response = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=iter(chunks))
    return [Event(event.event, event.data, event.id) for event in httpx_sse.EventSource(response).iter_sse()]


a_few_hundred = settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the parser's process serves all examples
)


@a_few_hundred
@given(streams())
def test_httpx_sse_reads_what_was_sent(stream: tuple[list[Event], list[bytes]]) -> None:
    sent, chunks = stream
    assert httpx_parser(chunks) == arriving(sent)


@a_few_hundred
@given(stream=streams())
def test_eventsource_parser_reads_what_was_sent(
    eventsource_parser: Parse, stream: tuple[list[Event], list[bytes]]
) -> None:
    sent, chunks = stream
    assert eventsource_parser(chunks) == arriving(sent)


def test_an_unnamed_event_is_a_message(eventsource_parser: Parse) -> None:
    wire = encode("hello", position="e-1")
    assert eventsource_parser([wire])[0].name is None  # which its users take for "message"
    assert httpx_parser([wire]) == [Event("message", "hello", "e-1")]

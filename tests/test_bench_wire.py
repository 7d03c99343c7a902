from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench_support import OK
from tornado_sse.cli.bench import wire

CHUNKED = b"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nTrailer: x\r\n\r\n"


@given(st.lists(st.integers(0, 250), max_size=8))
@example(list(range(250)))
def test_answers_on_one_connection_are_told_apart_wherever_they_are_cut(cuts: list[int]) -> None:
    stream = OK + CHUNKED + b"HTTP/1.0 204 No\r\n\r\n" + OK
    places = [0, *sorted(cuts), len(stream)]
    answers = wire.Answers()
    found = [(head.status, body) for a, b in pairwise(places) for head, body in answers.feed(stream[a:b])]
    assert found == [(200, b"{}"), (201, b"abc"), (204, b""), (200, b"{}")]


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_said_to_be(answer: bytes) -> None:
    with pytest.raises(wire.BadAnswer):
        list(wire.Answers().feed(answer))


def test_a_body_without_length_lasts_as_long_as_the_connection() -> None:
    body = wire.Body(chunked=False)
    assert (body.feed(b"ab"), body.ended) == (b"ab", False)


def test_requests_are_spelt_as_http_wants_them() -> None:
    assert wire.request("GET", "/x", {"Host": "h"}) == b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
    assert wire.request("POST", "/x", {}, b"ab") == b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"

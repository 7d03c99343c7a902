"""What chaos runs stand on: the plan, the client's reading of HTTP, and how reconnects are counted."""

from collections import Counter
from itertools import islice

import pytest

from chaos_plan import MEMBERS, NODE_LANE, SERVER_LANE, Blow, cycles
from rolling_run import Spread, spread
from sse_parser import Parser, Response

HEAD = b"HTTP/1.1 200 OK\r\n%b\r\n\r\n"


@pytest.mark.parametrize("lane", [NODE_LANE, SERVER_LANE])
def test_each_blow_of_a_lane_falls_once_in_a_cycle(lane: tuple[Blow, ...]) -> None:
    for cycle in islice(cycles("a", lane, 2), 20):
        assert Counter(step.blow for step in cycle) == Counter(lane)
        assert all(0 <= step.member < MEMBERS for step in cycle)


def test_a_seed_repeats_a_plan() -> None:
    def plan(seed: str) -> list[object]:
        return list(islice(cycles(seed, NODE_LANE, 2), 5))

    assert plan("a") == plan("a")
    assert plan("a") != plan("b")


@pytest.mark.parametrize(
    ("header", "body"),
    [(b"Content-Length: 5", b"abcde"), (b"Transfer-Encoding: chunked", b"4\r\nabcd\r\n0\r\n")],
)
def test_a_response_ends_where_it_says(header: bytes, body: bytes) -> None:
    response = Response()
    read, *rest = (response.feed(part) for part in (HEAD % header, body[:4], body[4:-1]))
    assert not response.ended
    assert b"".join([read, *rest, response.feed(body[-1:])])[:4] == b"abcd"
    assert response.ended


def test_a_stream_without_an_end_has_none() -> None:
    response = Response()
    assert response.feed(HEAD % b"Transfer-Encoding: chunked" + b"4\r\nabcd\r\n") == b"abcd"
    assert not response.ended


def test_the_time_to_reconnect_is_read() -> None:
    parser = Parser()
    list(parser.feed(b"retry: 250\n\nretry: soon\n\n"))
    assert parser.retry == 250


def test_connects_are_counted_by_the_second_of_a_drain() -> None:
    connects = [9.9, 10.0, 10.5, 10.9, 12.0, 17.0, 30.0]
    assert spread(connects, at=10.0, drain=5) == Spread(reconnects=5, mean=1.0, peak=3)
    assert spread([], at=10.0, drain=5) == Spread(0, 0, 0)

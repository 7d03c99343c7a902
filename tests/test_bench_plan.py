import json

import pytest

from bench_support import RUN
from tornado_sse.cli.bench import marker
from tornado_sse.cli.bench.plan import NS, WINDOW, Composer, Plan, Server, connect_request, shares

SERVER = Server.at("http://h/b")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://h", Server("h", 80, tls=False, authority="h", base="")),
        ("https://h/base/", Server("h", 443, tls=True, authority="h", base="/base")),
        ("http://u:p@h:81", Server("h", 81, tls=False, authority="h:81", base="")),
        ("http://[::1]:81", Server("::1", 81, tls=False, authority="[::1]:81", base="")),
    ],
)
def test_a_url_says_where_the_server_is(url: str, server: Server) -> None:
    assert Server.at(url) == server


@pytest.mark.parametrize("url", ["localhost", "ftp://h", "http://", "http://h:x", "http://h/\u00e9", "http://h/ x"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Server.at(url)


def test_streams_are_dealt_out_evenly() -> None:
    assert shares(10, 3) == [range(3), range(3, 6), range(6, 10)]
    assert shares(1, 3) == [range(1)]


def test_the_last_request_is_smaller_and_then_there_is_none() -> None:
    plan = Plan(1, 25, batch=10)
    assert [plan.next_count(published) for published in (0, 10, 20, 25)] == [10, 10, 5, 0]


def test_a_rate_says_when_a_request_is_due() -> None:
    assert Plan(1, 100, rate=20).due_at(10) == NS // 2
    assert Plan(1, 100).due_at(10) == 0


def test_the_window_bounds_what_is_on_its_way_and_holds_two_requests_at_least() -> None:
    single, batched = Plan(1, 100), Plan(1, 100, batch=20)
    assert [single.has_room(9, outstanding) for outstanding in (WINDOW - 1, WINDOW - 0.5)] == [True, False]
    assert [batched.has_room(0, outstanding) for outstanding in (20, 21)] == [True, False]


def test_a_stream_is_asked_for_by_path_channel_and_token() -> None:
    head = connect_request(SERVER, "s/1", ("a b",), "t").decode()
    assert head.splitlines()[0] == "GET /b/sse/connect/s%2F1?channel=a+b HTTP/1.1"
    assert "\r\nAuthorization: Bearer t\r\n" in head
    assert connect_request(SERVER, "s", (), "t").startswith(b"GET /b/sse/connect/s HTTP")


def test_messages_go_to_the_targets_in_turn_each_with_a_number_of_its_own() -> None:
    composer = Composer(SERVER, Plan(2, 9, size=50), RUN, "t", ["all", {"user": "u"}])
    head, _, body = composer.request(3, 3, 77).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /b/sse/publish HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n")
    items = [json.loads(line) for line in body.splitlines()]
    assert [item["to"] for item in items] == [{"user": "u"}, "all", {"user": "u"}]
    numbers = [int(item["data"][marker.LENGTH - 10 : marker.LENGTH]) for item in items]
    assert numbers == [1, 2, 2]
    assert {len(item["data"]) for item in items} == {50}

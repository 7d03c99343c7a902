from collections.abc import Iterator

import click
import httpx
import pytest

from cli_support import CUT, Answer, Scripted, scripted_server
from tornado_sse.cli import follow
from tornado_sse.cli.decode import Event
from tornado_sse.cli.follow import Follower

GONE = Answer(status=204, headers={})


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made, without their jitter."""
    made: list[float] = []
    monkeypatch.setattr(follow, "sleep", made.append)
    monkeypatch.setattr(follow, "uniform", lambda low, _high: low)
    return made


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10, trust_env=False) as made:
        yield made


def follower(client: httpx.Client, url: str, *, told: list[str] | None = None, since: str = "") -> Follower:
    tokens = iter(f"token-{number}" for number in range(1, 100))
    tell = (told if told is not None else []).append
    return Follower(client, f"{url}/sse/connect/s", ("a", "b c"), tokens.__next__, tell, last_event_id=since)


def asked(server: Scripted, header: str) -> list[str | None]:
    return [request.headers.get(header) for request in server.requests]


def test_connects_as_an_event_source_does(client: httpx.Client) -> None:
    with scripted_server(GONE) as server:
        assert list(follower(client, server.url).events()) == []
    (request,) = server.requests
    assert request.uri == "/sse/connect/s?channel=a&channel=b+c"
    assert request.headers["Accept"] == "text/event-stream"
    assert request.headers["Authorization"] == "Bearer token-1"
    assert "Last-Event-ID" not in request.headers


def test_resumes_after_the_last_event_with_a_fresh_token(client: httpx.Client, pauses: list[float]) -> None:
    told: list[str] = []
    with scripted_server(
        Answer((b"retry: 700\nid: e-1\n\n", b"id: e-2\ndata: x\n\n")), Answer((b"data: y\n\n",)), GONE
    ) as server:
        events = list(follower(client, server.url, told=told, since="é").events())
    assert events == [Event("message", "x", "e-2"), Event("message", "y", "e-2")]
    assert asked(server, "Authorization") == ["Bearer token-1", "Bearer token-2", "Bearer token-3"]
    assert [value and value.encode("latin-1").decode() for value in asked(server, "Last-Event-ID")] == [
        "é",
        "e-2",
        "e-2",
    ]
    assert pauses == [0.7, 0.7]
    assert told == ["the stream ended; trying again in 0.7 s"] * 2


def test_a_connection_cut_before_the_first_message_resumes_where_it_began(client: httpx.Client) -> None:
    with scripted_server(Answer((b"retry: 50\nid: e-9\n\n", CUT)), GONE) as server:
        assert list(follower(client, server.url).events()) == []
    assert asked(server, "Last-Event-ID") == [None, "e-9"]


def test_an_event_that_was_cut_off_does_not_count(client: httpx.Client) -> None:
    with scripted_server(Answer((b"id: 1\ndata: x\n\n", b"id: 2\ndata: y\n", CUT)), GONE) as server:
        assert [event.data for event in follower(client, server.url).events()] == ["x"]
    assert asked(server, "Last-Event-ID") == [None, "1"]


def test_pauses_grow_while_nobody_answers_up_to_30_seconds(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    told: list[str] = []

    def interrupted(pause: float) -> None:
        pauses.append(pause)
        if len(pauses) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(follow, "sleep", interrupted)
    with scripted_server() as server:
        pass
    with pytest.raises(KeyboardInterrupt):
        next(follower(client, server.url, told=told).events())
    assert pauses == [2, 4, 8, 16, 30, 30, 30]
    assert "Connection refused; trying again in 2.0 s" in told[0]


def test_the_server_may_ask_for_longer_pauses_than_we_would_make(client: httpx.Client, pauses: list[float]) -> None:
    with scripted_server(Answer((b"retry: 60000\n\n",)), GONE) as server:
        list(follower(client, server.url).events())
    assert pauses == [60]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(client: httpx.Client, pauses: list[float], status: int) -> None:
    told: list[str] = []
    busy = Answer((b'{"message": "too many", "status": "X"}',), status, {"Retry-After": "7"})
    with scripted_server(busy, Answer(), GONE) as server:
        list(follower(client, server.url, told=told).events())
    assert pauses == [7, 2]
    assert told[0].endswith(": too many; trying again in 7.0 s")


@pytest.mark.parametrize("after", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", ""])
def test_any_other_retry_after_counts_for_nothing(client: httpx.Client, pauses: list[float], after: str) -> None:
    busy = Answer((), 502, {"Retry-After": after})
    with scripted_server(busy, busy, GONE) as server:
        list(follower(client, server.url).events())
    assert pauses == [2, 4]


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404])
def test_what_another_try_would_not_change_ends_it(client: httpx.Client, status: int) -> None:
    answer = Answer((b'{"message": "why", "status": "X"}',), status, {})
    with (
        scripted_server(answer) as server,
        pytest.raises(click.ClickException, match=f"^{status} .*: why$"),
    ):
        list(follower(client, server.url).events())


@pytest.mark.parametrize("kind", ["text/html", "text/event-streams"])
def test_what_is_no_event_stream_ends_it(client: httpx.Client, kind: str) -> None:
    with (
        scripted_server(Answer((b"data: x\n\n",), 200, {"Content-Type": kind})) as server,
        pytest.raises(click.ClickException, match=f"no event stream: its Content-Type is {kind}"),
    ):
        list(follower(client, server.url).events())


def test_pauses_are_jittered_upwards(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr(follow, "uniform", lambda _low, high: high)
    with scripted_server(Answer((b"retry: 1000\n\n",)), GONE) as server:
        list(follower(client, server.url).events())
    assert pauses == [1.25]

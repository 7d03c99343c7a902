import asyncio
import datetime as dt
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from click.testing import Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from cli_support import DEADLINE, SECRET, invoke
from server_support import serving_in_thread
from tornado_sse.cli.bench import command, crew, marker, progress, publisher, runner, streams, wire, worker
from tornado_sse.cli.bench.crew import Share
from tornado_sse.cli.bench.histogram import Histogram
from tornado_sse.cli.bench.loop import READ, Loop
from tornado_sse.cli.bench.plan import NS, Composer, Plan, Server, connect_request, shares
from tornado_sse.cli.bench.report import Result as Figures
from tornado_sse.cli.bench.tally import Tally

RUN = "0123abcd"
BEGIN = marker.prefix(RUN)


# Pure, the histogram


@given(st.lists(st.integers(-10, 10**9), min_size=1), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_right_to_a_bucket(values: list[int], q: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    ordered = sorted(max(0, value) for value in values)
    exact = ordered[max(0, min(len(values), round(q * len(values) + 0.499)) - 1)]
    found = histogram.quantile(q)
    assert found is not None
    assert exact <= found <= exact * (1 + 1 / 64)
    assert histogram.quantile(1.0) == histogram.max == ordered[-1]


def test_histograms_add_up() -> None:
    small, large, both = Histogram(), Histogram(), Histogram()
    for value in (1, 5):
        small.record(value)
        both.record(value)
    for value in (7, 90_000):
        large.record(value)
        both.record(value)
    small.merge(large)
    assert small == both
    small.merge(Histogram())
    assert small == both


def test_without_values_there_is_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None


# Pure, the markers


def received(*chunks: bytes) -> Tally:
    tally = Tally()
    receiver = marker.Receiver(BEGIN, tally)
    for chunk in chunks:
        receiver.feed(chunk, 5_000_000)
    return tally


def marked(*numbers: int, ns: int = 1_000_000) -> bytes:
    return b"".join(b"data: %bxx@x\n\n" % marker.make(BEGIN, ns, number) for number in numbers)


def test_a_marker_has_the_length_it_says() -> None:
    assert len(marker.make(BEGIN, 12, 3)) == marker.LENGTH
    assert len(BEGIN) == marker.RUN + 2


def test_markers_are_counted_and_timed() -> None:
    tally = received(marked(0, 1), marked(2))
    assert (tally.received, tally.reordered, tally.duplicates, tally.gaps) == (3, 0, 0, 0)
    assert (tally.latency.total, tally.latency.max, tally.last) == (3, 4000, 5_000_000)


@given(st.lists(st.integers(0, 200), max_size=8))
@example(list(range(200)))
def test_where_bytes_are_cut_makes_no_difference(cuts: list[int]) -> None:
    stream = b"@0123 " + marked(0, 1, 2) + b"@0"
    places = [0, *sorted(cuts), len(stream)]
    tally = received(*(stream[a:b] for a, b in pairwise(places)))
    assert (tally.received, tally.gaps) == (3, 0)


def test_markers_of_other_runs_are_not_ours() -> None:
    assert received(marked(0).replace(RUN.encode(), b"ffffffff")).received == 0


@pytest.mark.parametrize(
    ("numbers", "figures"),
    [
        ((0, 2), (2, 0, 0, 1)),
        ((2, 0, 1), (3, 2, 0, 1)),
        ((0, 0), (1, 0, 1, 0)),
        ((2, 0, 0), (2, 1, 1, 1)),
        ((0, 5000, 1), (2, 0, 1, 1)),
        ((1, 5, 3), (3, 1, 0, 2)),
    ],
)
def test_gaps_reordering_and_duplicates_are_told_apart(numbers: tuple[int, ...], figures: tuple[int, ...]) -> None:
    tally = received(marked(*numbers))
    assert (tally.received, tally.reordered, tally.duplicates, tally.gaps) == figures


def test_tallies_add_up() -> None:
    first, second = received(marked(0, 2)), received(marked(0, 0))
    first.merge(second)
    assert (first.received, first.gaps, first.duplicates, first.last, first.latency.total) == (3, 1, 1, 5_000_000, 3)


# Pure, how HTTP is spoken

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
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


# Pure: the plan


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


SERVER = Server.at("http://h/b")


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


def test_the_window_bounds_what_is_on_its_way_and_holds_a_batch_at_least() -> None:
    plan = Plan(1, 100, window=4)
    assert [plan.has_room(9, outstanding) for outstanding in (0, 3, 3.5)] == [True, True, False]
    assert Plan(1, 100, window=4, batch=10).has_room(0, 0)


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


# Pure: the report


def figures(**changes: Any) -> Figures:
    tally = Tally(received=9, latency=Histogram())
    tally.latency.record(1500)
    return Figures(
        2, opened=2, connect_seconds=0.5, published=5, expected=10, delivery_seconds=2, tally=tally, **changes
    )


def test_the_table_is_for_people() -> None:
    table = figures(failure="429").as_table()
    assert table.splitlines()[:5] == [
        "streams       2 of 2 opened in 0.50 s, 4 a second",
        "messages      5 published",
        "deliveries    9 of 10 in 2.00 s, 4 a second",
        "latency       p50 1.50 ms   p90 1.50 ms   p99 1.50 ms   max 1.50 ms",
        "lost          1",
    ]
    assert "not opened    0 streams; the first: 429\n" in table
    assert "latency       p50 -" in Figures(1).as_table()


def test_only_a_run_without_any_fault_is_good() -> None:
    tally = Tally(received=10)
    good = Figures(2, opened=2, expected=10, tally=tally)
    assert good.is_good
    assert not figures().is_good
    assert not Figures(3, opened=2, expected=10, tally=tally).is_good
    assert not Figures(2, opened=2, expected=10, tally=tally, stopped="x").is_good
    assert not Figures(2, opened=2, expected=10, tally=Tally(received=10, closed=1)).is_good


# Against the real server


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving_in_thread(jwt_secret=SECRET) as node:
        yield node.url


def bench(url: str, *args: str, **env: str) -> Result:
    return invoke("bench", url, "--settle", "0.2", *args, stdin=None, **({"TORNADO_SSE_JWT_SECRET": SECRET} | env))


def found(url: str, *args: str, **env: str) -> Any:
    result = bench(url, "--json", *args, **env)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


PATIENT = ("--settle", "10")


@pytest.mark.parametrize(
    ("args", "deliveries"),
    [
        (("--messages", "7"), 70),
        (("--messages", "7", "--batch", "3", "--window", "5", "--channel", "a b"), 70),
        (("--messages", "25", "--unicast"), 25),
        (("--messages", "7", "--all", "--size", "1000"), 70),
        (("--rate", "1000", "--duration", "0.02"), 200),
        (("--messages", "25", "--unicast", "--batch", "4", "--processes", "2"), 25),
    ],
)
def test_counts_every_delivery(url: str, args: tuple[str, ...], deliveries: int) -> None:
    seen = found(url, "--streams", "10", *args, *PATIENT)
    assert seen["streams"]["opened"] == seen["streams"]["asked"] == 10
    assert seen["deliveries"]["received"] == seen["deliveries"]["expected"] == deliveries
    assert [seen["deliveries"][name] for name in ("lost", "reordered", "duplicates", "gaps")] == [0] * 4
    assert 0 < seen["latency_ms"]["p50"] <= seen["latency_ms"]["p99"] <= seen["latency_ms"]["max"]
    assert seen["stopped"] is None


def test_the_table_is_what_is_printed(url: str) -> None:
    result = bench(url, "--streams", "2", "--messages", "3", *PATIENT)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert re.match(r"streams +2 of 2 opened in .*\nmessages +3 published in .*\ndeliveries +6 of 6 ", result.stdout)


def test_one_token_makes_all_streams_one_users(url: str) -> None:
    token = jwt.encode({"sub": "me", "exp": 4e9, "scope": "subscribe publish"}, SECRET)
    assert (
        found(url, "--streams", "3", "--messages", "6", "--unicast", "--token", token, *PATIENT)["deliveries"][
            "received"
        ]
        == 6
    )


def test_streams_that_are_turned_away_are_told(url: str) -> None:
    token = jwt.encode({"sub": "me", "exp": 4e9, "scope": "subscribe publish", "channels": ["c"]}, SECRET)
    result = bench(url, "--streams", "40", "--messages", "2", "--channel", "c", "--token", token, *PATIENT)
    assert result.exit_code == 1
    assert "32 of 40 opened" in result.stdout
    assert "deliveries    64 of 64 " in result.stdout
    assert "8 streams; the first: 429 Too Many Requests: this user has" in result.stdout


def test_without_any_stream_there_is_only_the_reason(url: str) -> None:
    result = bench(url, "--streams", "2", "--messages", "2", "--token", "nonsense")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: no stream opened: 401 Unauthorized: ")


def test_a_token_that_may_not_publish_is_told(url: str) -> None:
    token = jwt.encode({"sub": "me", "exp": 4e9, "channels": ["c"]}, SECRET)
    result = bench(url, "--streams", "2", "--messages", "2", "--channel", "c", "--token", token)
    assert result.exit_code == 1
    assert "Error: publishing was refused: 403 Forbidden: " in result.stderr


def test_a_message_that_is_refused_is_told(url: str) -> None:
    result = bench(url, "--streams", "1", "--messages", "1", "--size", "70000")
    assert result.exit_code == 1
    assert "Error: a message was refused: " in result.stderr


def test_a_progress_bar_shows_on_a_terminal(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORNADO_SSE_JWT_SECRET", SECRET)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(progress, "REDRAW", 0)
    with pytest.raises(SystemExit) as ended:
        command.bench.main([url, "--streams", "2", "--messages", "2", *PATIENT], standalone_mode=False)
    assert ended.value.code == 0
    errors = capsys.readouterr().err
    assert "connecting" in errors
    assert "publishing" in errors
    assert " 4/4" in errors


def test_bars_are_not_redrawn_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "monotonic", iter([1.0, 1.0, 1.05, 1.2, 1.2]).__next__)
    drawn: list[int] = []
    bars = progress.Bars()
    bars.phase("x", 10)
    monkeypatch.setattr(bars._bar, "update", drawn.append)
    for done in (3, 5, 9):
        bars.reach(done)
    bars.close()
    assert drawn == [3, 6]


# Usage


@pytest.mark.parametrize(
    "args",
    [
        ("localhost",),
        ("http://h", "--all", "--unicast"),
        ("http://h", "--window", "3"),
        ("http://h", "--messages", "3", "--rate", "3"),
        ("http://h", "--messages", "3", "--duration", "3"),
        ("http://h", "--streams", "1000000"),
        ("http://h", "--size", "3"),
        ("http://h", "--unicast", "--token", "opaque"),
        ("http://h",),
    ],
)
def test_wrong_usage_is_exit_code_2(args: tuple[str, ...]) -> None:
    result = invoke("bench", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_a_host_that_nobody_knows_is_told() -> None:
    result = bench("http://nowhere.invalid")
    assert result.exit_code == 1
    assert "Error: no answer from nowhere.invalid: " in result.stderr


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = bench(f"http://127.0.0.1:{port}", "--streams", "3")
    assert result.exit_code == 1
    assert result.stderr == "Error: no stream opened: Connection refused\n"


# Against servers with faults

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@dataclass
class Faulty:
    """A server whose streams get what `deliver` makes of each publish request's markers, and `posted` its answer."""

    deliver: Callable[[list[bytes]], list[bytes]] = list
    head: bytes = STREAM
    posted: bytes = OK
    closes_at_publish: bool = False
    close_after: int = 0
    url: str = ""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    posts: int = 0
    connections: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = field(default_factory=dict)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections[writer] = asyncio.current_task()
        answered = 0
        try:
            while not self.close_after or answered < self.close_after:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    self.writers.append(writer)
                    writer.write(self.head)
                    if self.head != STREAM:
                        break
                else:
                    length = re.search(rb"Content-Length: (\d+)", head)
                    assert length
                    self.publish(writer, await reader.readexactly(int(length[1])))
                    answered += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def close(self) -> None:
        for writer in self.connections:
            writer.transport.abort()
        await asyncio.gather(*filter(None, self.connections.values()))

    def publish(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        self.posts += 1
        markers = re.findall(rb"@[0-9a-f]{8}:\d{29}", body)
        for stream in self.writers:
            stream.write(b"".join(b"data: %b\n\n" % found for found in self.deliver(markers)))
            if self.closes_at_publish:
                stream.close()
        writer.write(self.posted)
        if not self.posted:
            writer.close()


@contextmanager
def faulty(context: ssl.SSLContext | None = None, **faults: Any) -> Iterator[Faulty]:
    server = Faulty(**faults)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=context)
        scheme, host = ("https", "localhost") if context else ("http", "127.0.0.1")
        server.url = f"{scheme}://{host}:{listening.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        listening.close()
        await server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert ready.wait(DEADLINE)
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE)
        loop.close()


def seen_of(result: Result) -> dict[str, int]:
    deliveries: dict[str, int] = json.loads(result.stdout)["deliveries"]
    return {name: deliveries[name] for name in ("expected", "received", "lost", "reordered", "duplicates", "gaps")}


@pytest.mark.parametrize(
    ("deliver", "expected"),
    [
        (lambda markers: markers, (10, 0, 0, 0, 0)),
        (lambda markers: [found for found in markers if not found.endswith(b"3")], (8, 2, 0, 0, 2)),
        (lambda markers: markers[::-1], (10, 0, 8, 0, 2)),
        (lambda markers: [markers[0], *markers], (10, 0, 0, 2, 0)),
    ],
)
def test_losses_and_disorder_are_found(
    deliver: Callable[[list[bytes]], list[bytes]], expected: tuple[int, ...]
) -> None:
    with faulty(deliver=deliver) as server:
        result = bench(server.url, "--streams", "2", "--messages", "5", "--batch", "5", "--json")
    assert tuple(seen_of(result).values())[1:] == expected
    assert result.exit_code == (1 if expected[1] else 0)


def test_at_a_rate_losses_hold_nothing_up() -> None:
    with faulty(deliver=lambda _: []) as server:
        result = bench(server.url, "--streams", "1", "--rate", "200", "--duration", "0.05", "--json")
    assert (result.exit_code, seen_of(result)["lost"], server.posts) == (1, 10, 10)


def test_a_window_full_of_lost_messages_ends_the_run() -> None:
    with faulty(deliver=lambda _: []) as server:
        result = bench(server.url, "--streams", "1", "--messages", "100", "--window", "2")
    assert result.exit_code == 1
    assert "lost          2\n" in result.stdout
    assert result.stderr == "Error: nothing arrived for 0.2 s\n"


def test_time_is_bounded() -> None:
    with faulty() as server:
        result = bench(server.url, "--streams", "1", "--rate", "0.1", "--timeout", "1", "--duration", "100")
    assert result.stderr == "Error: stopped after 1 s\n"


def test_streams_that_the_server_closes_are_counted() -> None:
    with faulty(closes_at_publish=True) as server:
        result = bench(server.url, "--streams", "2", "--messages", "2", "--window", "1")
    assert result.exit_code == 1
    assert "closed        2 streams, by the server\n" in result.stdout
    assert result.stderr == "Error: the server closed every stream\n"


@pytest.mark.parametrize(
    ("posted", "reason"),
    [
        (b"", "the server closed the publishing connection"),
        (b"nonsense\r\n\r\n", "publishing: the answer is no HTTP"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "publishing was refused: 503 Service Unavailable"),
    ],
)
def test_a_publisher_that_is_turned_away_ends_the_run(posted: bytes, reason: str) -> None:
    with faulty(posted=posted) as server:
        result = bench(server.url, "--streams", "1", "--messages", "1")
    assert result.exit_code == 1
    assert f"Error: {reason}\n" in result.stderr


def test_a_publishing_connection_that_ends_between_requests_is_made_anew() -> None:
    with faulty(close_after=1) as server:
        result = bench(server.url, "--streams", "1", "--rate", "20", "--duration", "0.15")
    assert result.exit_code == 0, result.output
    assert (server.posts, len(server.connections)) == (3, 4)


def test_connections_are_rotated_before_a_proxy_closes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "ROTATE", 2)
    with faulty() as server:
        result = bench(server.url, "--streams", "1", "--messages", "5")
    assert result.exit_code == 0
    assert (server.posts, len(server.connections)) == (5, 4)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", "the answer is no event stream"),
        (b"nonsense\r\n\r\n", "the answer is no HTTP"),
        (b"HTTP/1.1 200", "the connection was closed without an answer"),
    ],
)
def test_what_is_no_stream_is_told(head: bytes, reason: str) -> None:
    with faulty(head=head) as server:
        result = bench(server.url, "--streams", "2")
    assert (result.exit_code, result.stderr) == (1, f"Error: no stream opened: {reason}\n")


def test_a_chunked_stream_that_ends_is_closed() -> None:
    head = STREAM.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"3\r\n:\n\n\r\n0\r\n\r\n"
    with faulty(head=head) as server:
        result = bench(server.url, "--streams", "1")
    assert result.stderr == "Error: the server closed every stream\n"


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = bench(f"http://127.0.0.1:{server.getsockname()[1]}", "--streams", "2")
    assert (result.exit_code, result.stderr) == (1, "Error: nothing happened for 0.2 s while connecting\n")


def test_ctrl_c_ends_the_run_and_prints_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Loop.turn
    with faulty() as server:

        def interrupted(self: Loop, timeout: float) -> None:
            if server.posts:
                raise KeyboardInterrupt
            turn(self, timeout)

        monkeypatch.setattr(Loop, "turn", interrupted)
        result = bench(server.url, "--streams", "1", "--rate", "1", "--duration", "1000")
    assert result.exit_code == 130
    assert result.stdout.startswith("streams       1 of 1 opened")
    assert result.stderr == "Error: interrupted\n"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def context(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's, and localhost means IPv4."""
    resolve = streams.resolve
    monkeypatch.setattr(command, "resolve", lambda _, port, tls: _named(resolve("127.0.0.1", port, tls=tls)))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


def _named(endpoint: streams.Endpoint) -> streams.Endpoint:
    return streams.Endpoint(endpoint.family, endpoint.address, "localhost")


def test_speaks_tls(context: ssl.SSLContext, certificate: Path) -> None:
    with faulty(context) as server:
        result = bench(
            server.url, "--streams", "3", "--messages", "4", "--size", "40000", *PATIENT, SSL_CERT_FILE=str(certificate)
        )
    assert result.exit_code == 0, result.output
    assert "deliveries    12 of 12 " in result.stdout


def test_a_certificate_that_is_not_trusted_is_told(context: ssl.SSLContext) -> None:
    with faulty(context) as server:
        result = bench(server.url, "--streams", "1")
    assert result.exit_code == 1
    assert "certificate verify failed" in result.stderr


def test_a_publisher_verifies_the_certificate_too(context: ssl.SSLContext) -> None:
    with faulty(context) as server:
        endpoint = _named(streams.resolve("127.0.0.1", int(server.url.rpartition(":")[2]), tls=True))
        with pytest.raises(publisher.Stopped, match="certificate verify failed"):
            publisher.Publisher(Loop(), endpoint).send(b"x")


# Sockets that fail


class Failing:
    """A socket of which one method raises."""

    def __init__(self, method: str, error: Exception) -> None:
        self._socket = socket.socket()
        self._method = method
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name != self._method:
            return getattr(self._socket, name)

        def fail(*_: object, **__: object) -> None:
            raise self._error

        return fail


@dataclass
class Owner:
    """Owns one stream to a server that accepts and is silent."""

    endpoint: streams.Endpoint
    loop: Loop = field(default_factory=Loop)
    tally: Tally = field(default_factory=Tally)
    context: Any = None
    reasons: list[str] = field(default_factory=list)

    def opened(self, _stream: object) -> None:
        raise AssertionError

    def failed(self, why: str) -> None:
        self.reasons.append(why)


@pytest.fixture
def silent() -> Iterator[streams.Endpoint]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield streams.resolve(*server.getsockname(), tls=False)


def reasons(owner: Owner) -> list[str]:
    stream = streams.Stream(owner, 0, b"x", BEGIN)
    stream.start()
    for _ in range(50):
        if not owner.reasons:
            owner.loop.turn(0.05)
    stream.close()
    owner.loop.close()
    return owner.reasons


BROKEN = OSError(5, "broken")


@pytest.mark.parametrize("method", ["connect", "sendall", "recv"])
def test_a_socket_that_breaks_is_told(method: str, silent: streams.Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Failing(method, BROKEN)
    monkeypatch.setattr("socket.socket", lambda *_: failing)
    owner = Owner(silent)
    stream = streams.Stream(owner, 0, b"x", BEGIN)
    stream.start()
    if method != "connect":
        stream._connected()
        if method == "recv":
            stream._readable()
    stream.close()
    owner.loop.close()
    assert owner.reasons == ["broken"]


def test_nothing_to_read_is_no_fault(silent: streams.Endpoint) -> None:
    owner = Owner(silent)
    stream = streams.Stream(owner, 0, b"x", BEGIN)
    stream.start()
    stream._readable()
    stream.close()
    owner.loop.close()
    assert owner.reasons == []


def test_a_connection_that_can_not_be_wrapped_is_told(silent: streams.Endpoint) -> None:
    class Context:
        def wrap_socket(self, *_: object, **__: object) -> None:
            raise BROKEN

    assert reasons(Owner(silent, context=Context())) == ["broken"]


def test_loopback_has_addresses_enough_for_all_ports() -> None:
    local = streams.Endpoint(socket.AF_INET, ("127.0.0.1", 80))
    assert [local.source(index) for index in (0, 19_999, 20_000, 45_000)] == [None, None, "127.0.0.3", "127.0.0.4"]
    assert streams.Endpoint(socket.AF_INET, ("192.0.2.1", 80)).source(20_000) is None
    assert streams.Endpoint(socket.AF_INET6, ("::1", 80)).source(20_000) is None


def test_streams_beyond_them_come_from_other_addresses(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(streams, "PORTS", 1)
    assert found(url, "--streams", "3", "--messages", "1", *PATIENT)["streams"]["opened"] == 3


@pytest.mark.parametrize(
    ("method", "error", "why"),
    [
        ("send", BROKEN, "broke: broken"),
        ("send", BlockingIOError(), None),
        ("recv", BROKEN, "broke: broken"),
        ("recv", BlockingIOError(), None),
    ],
)
def test_a_publishing_connection_that_breaks_is_told(
    method: str, error: OSError, why: str | None, monkeypatch: pytest.MonkeyPatch, silent: streams.Endpoint
) -> None:
    failing = Failing(method, error)
    failing.connect(silent.address)
    monkeypatch.setattr("socket.create_connection", lambda *_: failing)
    loop = Loop()
    publishing = publisher.Publisher(loop, silent)

    def work() -> None:
        publishing.send(b"x")
        publishing._ready()

    if why is None:
        work()
        publishing.send(b"y")
        assert publishing.in_flight == 2
    else:
        with pytest.raises(publisher.Stopped, match=why):
            work()
    publishing.close()
    publishing.close()
    loop.close()


def test_a_publisher_that_can_not_connect_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = streams.resolve(*server.getsockname(), tls=False)
    with pytest.raises(publisher.Stopped, match="publishing: Connection refused"):
        publisher.Publisher(Loop(), endpoint).send(b"x")


def test_a_handler_that_is_forgotten_within_a_turn_is_not_called() -> None:
    loop = Loop()
    pairs = [os.pipe(), os.pipe()]
    called = []

    def forget_all() -> None:
        called.append(1)
        for reading, _ in pairs:
            loop.forget(reading)

    for reading, writing in pairs:
        os.write(writing, b"x")
        loop.watch(reading, READ, forget_all)
    loop.turn(1)
    loop.close()
    for pair in pairs:
        for fd in pair:
            os.close(fd)
    assert called == [1]


def test_what_is_due_sooner_than_epoll_can_wait_is_not_waited_for() -> None:
    now = time.monotonic_ns()
    assert runner._until(now - 1) == runner.TURN
    assert runner._until(now + 3600 * NS) == runner.TURN
    assert 0 <= runner._until(now + 50_000_000) < 0.05


# Workers


def share_of(url: str, *requests: bytes) -> Share:
    server = Server.at(url)
    return Share(streams.resolve(server.host, server.port, tls=False), RUN, 0, list(requests))


def test_a_worker_tells_how_far_it_is_and_at_the_end_its_tally() -> None:
    to_worker, ours = os.pipe()
    theirs, from_worker = os.pipe()
    with faulty() as server:
        running = threading.Thread(target=worker.Worker(to_worker, from_worker).run)
        running.start()
        os.write(ours, msgspec.json.encode(share_of(server.url, b"GET / HTTP/1.1\r\n\r\n")) + b"\n")
        lines = worker.Lines(theirs)
        reports: list[worker.Report] = []
        while not reports or reports[-1].indexes is None:
            reports += [msgspec.json.decode(line, type=worker.Report) for line in lines.read()]
        os.close(ours)
        running.join(DEADLINE)
        os.close(from_worker)
        while not lines.ended:
            reports += [msgspec.json.decode(line, type=worker.Report) for line in lines.read()]
    assert [report.indexes for report in reports if report.indexes is not None] == [[0]]
    assert reports[-1].tally == Tally()
    for fd in (to_worker, theirs):
        os.close(fd)


def test_a_worker_that_is_told_nothing_ends() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    worker.Worker(reading, -1).run()
    os.close(reading)


def test_the_program_of_a_worker_ends_with_its_input_and_not_with_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[Any] = []
    monkeypatch.setattr(signal, "signal", lambda *args: handled.append(args))
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdin)
        worker.main()
    assert handled == [(signal.SIGINT, signal.SIG_IGN)]


class Dying(subprocess.Popen[bytes]):
    """A worker that ends at once."""

    def __init__(self, _command: list[str], **pipes: Any) -> None:
        super().__init__([sys.executable, "-c", "input()"], **pipes)


def test_a_worker_that_ends_before_its_time_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", Dying)
    with faulty() as server:
        result = bench(server.url, "--streams", "2", "--processes", "2", *PATIENT)
    assert (result.exit_code, result.stderr) == (1, "Error: a worker process ended before its time\n")


def test_streams_start_in_bursts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "BURST", 2)
    assert found(url, "--streams", "9", "--messages", "1", *PATIENT)["streams"]["opened"] == 9

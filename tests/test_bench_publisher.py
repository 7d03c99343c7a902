import socket
import time
from collections.abc import Iterator

import pytest

from bench_support import BROKEN, Failing, bench, faulty, silent_server
from cli_support import DEADLINE
from tornado_sse.cli.bench import publisher, wire
from tornado_sse.cli.bench.sockets import Endpoint, Loop, resolve


@pytest.fixture
def silent() -> Iterator[Endpoint]:
    with silent_server() as endpoint:
        yield endpoint


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
    loop = Loop()
    with faulty(close_after=1) as server:
        publishing = publisher.Publisher(loop, resolve("127.0.0.1", int(server.url.rpartition(":")[2]), tls=False))
        for _ in range(2):
            publishing.send(wire.request("POST", "/", {}, b"x"))
            deadline = time.monotonic() + DEADLINE
            while publishing._socket and time.monotonic() < deadline:
                loop.turn(0.1)
    loop.close()
    assert (server.posts, len(server.connections), publishing.in_flight) == (2, 2, 0)


def test_connections_are_rotated_before_a_proxy_closes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "ROTATE", 2)
    with faulty() as server:
        result = bench(server.url, "--streams", "1", "--messages", "5")
    assert result.exit_code == 0
    assert (server.posts, len(server.connections)) == (5, 4)


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
    method: str, error: OSError, why: str | None, monkeypatch: pytest.MonkeyPatch, silent: Endpoint
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
        endpoint = resolve(*server.getsockname(), tls=False)
    with pytest.raises(publisher.Stopped, match="publishing: Connection refused"):
        publisher.Publisher(Loop(), endpoint).send(b"x")

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from bench_support import BEGIN, BROKEN, STREAM, Failing, bench, faulty, silent_server
from tornado_sse.cli.bench import streams
from tornado_sse.cli.bench.sockets import Endpoint, Loop
from tornado_sse.cli.bench.tally import Tally


@pytest.fixture
def silent() -> Iterator[Endpoint]:
    with silent_server() as endpoint:
        yield endpoint


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


@dataclass
class Owner:
    """Owns one stream to a server that accepts and is silent."""

    endpoint: Endpoint
    loop: Loop = field(default_factory=Loop)
    tally: Tally = field(default_factory=Tally)
    context: Any = None
    reasons: list[str] = field(default_factory=list)

    def opened(self, _stream: object) -> None:
        raise AssertionError

    def failed(self, why: str) -> None:
        self.reasons.append(why)


def reasons(owner: Owner) -> list[str]:
    stream = streams.Stream(owner, 0, b"x", BEGIN)
    stream.start()
    for _ in range(50):
        if not owner.reasons:
            owner.loop.turn(0.05)
    stream.close()
    owner.loop.close()
    return owner.reasons


@pytest.mark.parametrize("method", ["connect", "sendall", "recv"])
def test_a_socket_that_breaks_is_told(method: str, silent: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_nothing_to_read_is_no_fault(silent: Endpoint) -> None:
    owner = Owner(silent)
    stream = streams.Stream(owner, 0, b"x", BEGIN)
    stream.start()
    stream._readable()
    stream.close()
    owner.loop.close()
    assert owner.reasons == []


def test_a_connection_that_can_not_be_wrapped_is_told(silent: Endpoint) -> None:
    class Context:
        def wrap_socket(self, *_: object, **__: object) -> None:
            raise BROKEN

    assert reasons(Owner(silent, context=Context())) == ["broken"]


def test_a_handshake_goes_on_when_the_server_has_answered(silent: Endpoint) -> None:
    owner = Owner(silent)
    stream = streams.Stream(owner, 0, b"x", BEGIN)
    stream.start()
    for _ in range(2):
        stream._socket = cast("Any", Shaking(stream._socket, ssl.SSLWantReadError()))
        stream._shake_hands()
    assert owner.reasons == [], "the server's turn"
    stream._socket = cast("Any", Shaking(stream._socket, BROKEN))
    stream._shake_hands()
    stream.close()
    owner.loop.close()
    assert owner.reasons == ["broken"]


class Shaking:
    """A socket in the middle of a handshake."""

    def __init__(self, connection: Any, error: OSError) -> None:
        self._connection = connection
        self._error = error

    def do_handshake(self) -> None:
        raise self._error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

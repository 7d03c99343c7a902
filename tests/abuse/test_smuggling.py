"""Attack: a second request hidden where two readers may differ on where the first one ends, direct and through proxies.

Whoever hides one behind a proxy does what the proxy forbids, or has the next client get the answer to it.
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from abuse_framing import Doubtful, doubtful
from browser_support import Server, run_server
from proxy_support import PATIENCE, Proxy, proxy

AT_ONCE = 16
FORBIDDEN = {
    "nginx": {"location / {": "location /sse/publish { return 403; }\n\nlocation / {"},
    "haproxy": {"    default_backend": "    http-request deny if { path_beg /sse/publish }\n    default_backend"},
}
"""What makes a proxy forbid publishing: what is published all the same was smuggled."""

PUBLISHED = 'tornado_sse_messages_published_total{result="accepted"}'
PLAIN = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
SILENCE = 0.3
"""Seconds without a byte after which no more is expected: whoever waits for more of a request does no harm."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with run_server() as server:
        yield server


def hidden(server: Server) -> bytes:
    """The request to hide: it publishes."""
    body, token = b'{"to": "all", "data": "smuggled"}', server.token("smuggler", ["publish"])
    head = f"POST /sse/publish HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def statuses(connection: socket.socket, sent: bytes) -> list[int]:
    """Send these bytes, and read what is answered, and until when it is silent or over."""
    connection.settimeout(SILENCE)
    answer = b""
    with suppress(OSError):
        connection.sendall(sent)
        while data := connection.recv(65536):
            answer += data
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


def knock(connect: Callable[[], socket.socket], sent: bytes) -> list[int]:
    with connect() as connection:
        return statuses(connection, sent)


def direct(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0))


def through(running: Proxy) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = socket.create_connection(("127.0.0.1", urlsplit(running.url).port or 0))
    return context.wrap_socket(connection, server_hostname="localhost")


@contextmanager
def forbidding(name: str, server: Server, folder: Path) -> Iterator[Proxy]:
    """Run a proxy that does not let anybody publish."""
    public, admin = urlsplit(server.url).port or 0, urlsplit(server.admin_url).port or 0
    with proxy(name, folder, (public, admin), changes=FORBIDDEN[name]) as running:
        yield running


def batches() -> Iterator[list[Doubtful]]:
    every = list(doubtful())
    yield from (every[first : first + AT_ONCE] for first in range(0, len(every), AT_ONCE))


def test_what_is_doubtful_is_refused_and_nothing_hidden_in_it_is_done(server: Server) -> None:
    smuggled, connect, before = hidden(server), partial(direct, server), server.metric(PUBLISHED)
    wrong: dict[str, list[int]] = {}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for batch in batches():
            answers = threads.map(partial(knock, connect), [each.raw(smuggled) for each in batch])
            wrong |= {each.name: got for each, got in zip(batch, answers, strict=True) if got != [each.status]}
    assert wrong == {}
    assert server.metric(PUBLISHED) == before
    assert knock(connect, PLAIN) == [200]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_nothing_is_smuggled_past_a_proxy_and_nobody_gets_anothers_answer(
    name: str, server: Server, tmp_path: Path, need_program: Callable[[str], str]
) -> None:
    need_program(name)
    smuggled, before = hidden(server), server.metric(PUBLISHED)
    with forbidding(name, server, tmp_path) as running, ThreadPoolExecutor(AT_ONCE) as threads:
        connect = partial(through, running)
        assert knock(connect, smuggled) == [403]
        for batch in batches():
            answers = threads.map(partial(knock, connect), [each.raw(smuggled) for each in batch])
            assert not [each.name for each, got in zip(batch, answers, strict=True) if 200 in got]
            assert knock(connect, PLAIN * 4) == [200] * 4
    assert server.metric(PUBLISHED) == before


@pytest.mark.parametrize("name", [None, *FORBIDDEN])
def test_what_comes_behind_the_request_for_a_stream_is_thrown_away(
    name: str | None, server: Server, tmp_path: Path, need_program: Callable[[str], str]
) -> None:
    session = server.mint("stream")
    before = server.metric(PUBLISHED)
    asked = f"GET /sse/connect/{session} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as stack:
        connect = partial(direct, server)
        if name:
            need_program(name)
            connect = partial(through, stack.enter_context(forbidding(name, server, tmp_path)))
        connection = stack.enter_context(connect())
        assert statuses(connection, asked + hidden(server) * 2) == [200]
        connection.settimeout(PATIENCE)
        server.publish("stream", "still here")
        answer = b""
        while b"data: still here" not in answer:
            data = connection.recv(65536)
            assert data, "the stream ended"
            answer += data
    assert server.metric(PUBLISHED) == before + 1

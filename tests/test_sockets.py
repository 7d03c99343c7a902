import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.iostream import IOStream, SSLIOStream
from tornado.web import Application, RequestHandler

from tornado_sse.connection import Connection
from tornado_sse.listener import Listener
from tornado_sse.sockets import http_date, is_closed, is_encrypted, take_over

Kind = Callable[[socket.socket, Listener], HTTPConnection]


def ours(connection: socket.socket, door: Listener) -> HTTPConnection:
    return Connection(connection, ("127.0.0.1", 1), door)


def tornados(connection: socket.socket, _: Listener) -> HTTPConnection:
    return HTTP1Connection(IOStream(connection), is_client=False)


KINDS = [ours, tornados]


def handler_on(connection: HTTPConnection) -> RequestHandler:
    start_line = RequestStartLine("GET", "/", "HTTP/1.1")
    headers = HTTPHeaders({"Host": "a"})
    return RequestHandler(
        Application(), HTTPServerRequest(start_line=start_line, headers=headers, connection=connection)
    )


def close(connection: HTTPConnection) -> None:
    """Close it as a client that hangs up has it closed."""
    assert isinstance(connection, Connection | HTTP1Connection)
    if isinstance(connection, Connection):
        connection.close()
    elif connection.stream is not None:  # else it was taken over
        connection.stream.close()


@asynccontextmanager
async def connected(kind: Kind) -> AsyncIterator[tuple[RequestHandler, socket.socket]]:
    """A handler whose request came over a connection, and its client."""
    door = Listener(Application(), "127.0.0.1", 0)
    door.start()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        client.connect(listening.getsockname())
        connection = kind(listening.accept()[0], door)
        try:
            yield handler_on(connection), client
        finally:
            close(connection)
            await door.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test
async def test_the_connection_lives_on_when_it_is_no_longer_https(kind: Kind) -> None:
    async with connected(kind) as (handler, client):
        assert not is_closed(handler)
        with take_over(handler, 30) as connection:
            assert connection.gettimeout() == 0
            client.sendall(b"ping")
            connection.setblocking(True)
            assert connection.recv(4) == b"ping"
            connection.sendall(b"pong")
            assert client.recv(4) == b"pong"
        assert client.recv(1) == b"", "nobody else holds it"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("seconds", "milliseconds"), [(30, 30_000), (0.25, 250), (0, 0)])
@pytest.mark.gen_test
async def test_the_kernel_gives_a_silent_peer_up(kind: Kind, seconds: float, milliseconds: int) -> None:
    async with connected(kind) as (handler, _):
        with take_over(handler, seconds) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize("size", [200, 4096, 65536])
@pytest.mark.gen_test
async def test_the_kernel_takes_what_is_read_at_once(size: int) -> None:
    async with connected(ours) as (handler, client):
        with take_over(handler, 30) as connection:
            for _ in range(100):
                assert connection.send(b"x" * size) == size
                assert len(client.recv(size, socket.MSG_WAITALL)) == size


@pytest.mark.gen_test
async def test_a_unix_socket_has_no_such_options(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        client.connect(str(tmp_path / "socket"))
        with take_over(handler_on(HTTP1Connection(IOStream(listening.accept()[0]), is_client=False)), 30) as connection:
            connection.send(b"hello")
            assert client.recv(5) == b"hello"


@pytest.mark.gen_test
async def test_without_a_descriptor_left_tornados_connection_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "dup", exhausted)
    async with connected(tornados) as (handler, client):
        with pytest.raises(OSError, match="Too many open files"):
            take_over(handler, 30)
        connection = handler.request.connection
        assert isinstance(connection, HTTP1Connection)
        await connection.stream.write(b"sorry")
        assert client.recv(5) == b"sorry"
    async with connected(ours) as (handler, _):
        take_over(handler, 30).close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test
async def test_tells_whether_the_connection_is_closed(kind: Kind) -> None:
    async with connected(kind) as (handler, _):
        assert not is_closed(handler)
        assert handler.request.connection is not None
        close(handler.request.connection)
        assert is_closed(handler)
        handler.detach()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test
async def test_most_are_not_encrypted(kind: Kind) -> None:
    async with connected(kind) as (handler, _):
        assert not is_encrypted(handler)


@pytest.mark.gen_test
async def test_tornado_may_end_tls() -> None:
    first, second = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    wrapped = context.wrap_socket(first, server_side=True, do_handshake_on_connect=False)
    stream = SSLIOStream(wrapped)
    assert is_encrypted(handler_on(HTTP1Connection(stream, is_client=False)))
    stream.close()
    second.close()


def test_writes_dates_as_http_does() -> None:
    assert http_date(784111777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(784111778.0) == "Sun, 06 Nov 1994 08:49:38 GMT"

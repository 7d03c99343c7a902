import errno
import socket
from pathlib import Path

import pytest
from tornado.iostream import IOStream

from tornado_sse.sockets import adopt, http_date


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    return server, client


@pytest.mark.gen_test
async def test_the_connection_lives_on_when_tornado_has_closed_its_own() -> None:
    server, client = tcp_pair()
    stream = IOStream(server)
    connection = adopt(stream, 30)
    assert stream.closed()
    assert connection is not None
    with connection, client:
        assert connection.gettimeout() == 0
        client.sendall(b"ping")
        connection.setblocking(True)
        assert connection.recv(4) == b"ping"
        connection.sendall(b"pong")
        assert client.recv(4) == b"pong"


@pytest.mark.parametrize(("seconds", "milliseconds"), [(30, 30_000), (0.25, 250), (0, 0)])
@pytest.mark.gen_test
async def test_the_kernel_gives_a_silent_peer_up(seconds: float, milliseconds: int) -> None:
    server, client = tcp_pair()
    connection = adopt(IOStream(server), seconds)
    assert connection is not None
    with connection, client:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.gen_test
async def test_a_unix_socket_has_no_such_options(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        client.connect(str(tmp_path / "socket"))
        server, _ = listening.accept()
        connection = adopt(IOStream(server), 30)
        assert connection is not None
        connection.send(b"hello")
        assert client.recv(5) == b"hello"
        connection.close()


@pytest.mark.gen_test
async def test_a_client_that_is_gone_leaves_nothing() -> None:
    server, client = tcp_pair()
    stream = IOStream(server)
    stream.close()
    assert adopt(stream, 30) is None
    client.close()


@pytest.mark.gen_test
async def test_without_a_descriptor_left_the_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    server, client = tcp_pair()
    stream = IOStream(server)
    monkeypatch.setattr(socket.socket, "dup", exhausted)
    assert adopt(stream, 30) is None
    assert stream.closed()
    with client:
        assert client.recv(1) == b""


def test_writes_dates_as_http_does() -> None:
    assert http_date(784111777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(784111778.0) == "Sun, 06 Nov 1994 08:49:38 GMT"

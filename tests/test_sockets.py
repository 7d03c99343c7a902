import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tornado.iostream import IOStream

from tornado_sse.sockets import duplicate, http_date


@contextmanager
def connected(receive_buffer: int = 0) -> Iterator[tuple[IOStream, socket.socket]]:
    """A connection as Tornado has it, and its client."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(listening.getsockname())
        stream = IOStream(listening.accept()[0])
        try:
            yield stream, client
        finally:
            stream.close()


@pytest.mark.gen_test
async def test_the_connection_lives_on_when_tornado_has_closed_its_own() -> None:
    with connected() as (stream, client), duplicate(stream, 30) as connection:
        assert not stream.closed()
        stream.close()
        assert connection.gettimeout() == 0
        client.sendall(b"ping")
        connection.setblocking(True)
        assert connection.recv(4) == b"ping"
        connection.sendall(b"pong")
        assert client.recv(4) == b"pong"


@pytest.mark.parametrize(("seconds", "milliseconds"), [(30, 30_000), (0.25, 250), (0, 0)])
@pytest.mark.gen_test
async def test_the_kernel_gives_a_silent_peer_up(seconds: float, milliseconds: int) -> None:
    with connected() as (stream, _), duplicate(stream, seconds) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize("size", [200, 4096, 65536])
@pytest.mark.gen_test
async def test_the_kernel_takes_what_is_read_at_once(size: int) -> None:
    with connected() as (stream, client), duplicate(stream, 30) as connection:
        for _ in range(100):
            assert connection.send(b"x" * size) == size
            assert len(client.recv(size, socket.MSG_WAITALL)) == size


@pytest.mark.gen_test
async def test_a_unix_socket_has_no_such_options(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        client.connect(str(tmp_path / "socket"))
        stream = IOStream(listening.accept()[0])
        with duplicate(stream, 30) as connection:
            connection.send(b"hello")
            assert client.recv(5) == b"hello"
        stream.close()


@pytest.mark.gen_test
async def test_without_a_descriptor_left_the_connection_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with connected() as (stream, client):
        monkeypatch.setattr(socket.socket, "dup", exhausted)
        with pytest.raises(OSError, match="Too many open files"):
            duplicate(stream, 30)
        await stream.write(b"sorry")
        assert client.recv(5) == b"sorry"


def test_writes_dates_as_http_does() -> None:
    assert http_date(784111777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(784111778.0) == "Sun, 06 Nov 1994 08:49:38 GMT"

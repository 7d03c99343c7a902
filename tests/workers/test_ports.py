import socket

import pytest

from tornado_sse.workers.ports import SharedPort


def listener(port: int, host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, reuse_port=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_workers_can_listen_on_a_port_that_is_held(host: str) -> None:
    held = SharedPort(host, 0, shared=False)
    try:
        with listener(held.port, host), listener(held.port, host), socket.create_connection((host, held.port)):
            pass
    finally:
        held.close()


def test_nobody_is_served_while_no_worker_listens() -> None:
    held = SharedPort("127.0.0.1", 0, shared=False)
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", held.port))
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", held.port))
    finally:
        held.close()


@pytest.mark.filterwarnings("ignore:Exception ignored in")  # Tornado leaves a socket open that it could not bind
def test_a_port_of_other_processes_is_refused_unless_it_is_to_be_shared() -> None:
    with listener(0) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            SharedPort("127.0.0.1", port, shared=False)
        SharedPort("127.0.0.1", port, shared=True).close()

import os
import socket

from tornado_sse.cli.bench.sockets import READ, Endpoint, Loop


def test_loopback_has_addresses_enough_for_all_ports() -> None:
    local = Endpoint(socket.AF_INET, ("127.0.0.1", 80))
    assert [local.source(index) for index in (0, 19_999, 20_000, 45_000)] == [None, None, "127.0.0.3", "127.0.0.4"]
    assert Endpoint(socket.AF_INET, ("192.0.2.1", 80)).source(20_000) is None
    assert Endpoint(socket.AF_INET6, ("::1", 80)).source(20_000) is None


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

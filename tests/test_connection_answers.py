"""Answers as they leave on a connection."""

import socket
from contextlib import suppress

import pytest

from client_support import Client, until
from connection_support import BUFFER, LARGE, PIECE, body, get, listening, post
from server_support import Clock
from tornado_sse.listener import SLOW


@pytest.mark.gen_test
async def test_who_wants_the_connection_closed_has_it_closed() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/", "Connection: close") + get())
        assert (await client.response()).headers["connection"] == "close"
        assert await client.read() == b""
        await node.forgotten()


@pytest.mark.gen_test
async def test_a_handler_may_end_the_connection() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/last"))
        response = await client.response()
        assert (response.body, response.headers["connection"]) == (b"goodbye", "close")
        assert await client.read() == b""


@pytest.mark.gen_test
async def test_an_answer_without_a_length_lasts_until_the_end() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/parts"))
        head, _, rest = (await client.read_all()).partition(b"\r\n\r\n")
        assert rest == b"onetwo"
        assert b"\r\nConnection: close" in head
        await node.forgotten()


@pytest.mark.gen_test
async def test_an_answer_that_has_no_body_needs_no_length() -> None:
    async with listening() as node:
        client = await node.client()
        for _ in range(2):
            await client.send(get("/empty"))
            assert (await client.response()).status == 204
        await client.send(get())
        etag = (await client.response()).headers["etag"]
        for _ in range(2):
            await client.send(get("/", f"If-None-Match: {etag}").replace(b"/ HTTP", b"/empty HTTP"))
            assert (await client.response()).status == 204


@pytest.mark.gen_test
async def test_a_malformed_request_is_answered_and_the_connection_ends() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"abc").replace(b"Host: a", b"Host: a/b") + get())
        assert (await client.response()).status == 400
        assert await client.read() == b""
        await node.forgotten()


@pytest.mark.gen_test(timeout=20)
async def test_a_slow_reader_gets_all_of_a_large_answer(clock: Clock) -> None:
    async with listening(clock) as node:
        client = await node.client(BUFFER)
        await client.send(get("/large") + get("/", "Connection: close"))
        data = b""
        while data.count(b"#") < LARGE:  # each time more than the kernel holds, so that some of it was written just now
            wanted = min(data.count(b"#") + 8 * BUFFER, LARGE)
            while data.count(b"#") < wanted:
                data += await client.read()
            clock.advance(SLOW - 1)
            await node.listener._cut()
        data += await client.read_all()
        assert data.count(b"#") == LARGE
        assert data.count(b"HTTP/1.1 200 OK") == 2
        assert node.hold.hung_up == 0


@pytest.mark.gen_test
async def test_a_large_answer_to_a_request_that_is_there_at_the_accept_arrives_whole() -> None:
    async with listening() as node:
        with socket.create_connection(("127.0.0.1", node.listener.port)) as connection:
            connection.sendall(get("/large", "Connection: close"))
            connection.setblocking(False)
            assert (await Client(connection).read_all()).count(b"#") == LARGE
        await node.forgotten()


@pytest.mark.gen_test
async def test_who_never_reads_is_cut(clock: Clock) -> None:
    async with listening(clock) as node:
        client = await node.client(BUFFER)
        await client.send(get("/large"))
        await until(lambda: node.hold.answered)
        clock.advance(SLOW - 1)
        await node.listener._cut()
        assert not node.connection.closed
        clock.advance(1)
        await node.listener._cut()
        await node.forgotten()
        assert len(await client.read_all()) < LARGE


@pytest.mark.gen_test
async def test_a_flush_is_over_when_the_socket_took_it_all() -> None:
    async with listening() as node:
        client = await node.client(BUFFER)
        await client.send(get("/piecemeal", "Connection: close"))
        await until(lambda: node.hold.asked)
        waiting = node.hold.flushed[-1]
        assert not waiting.done()
        node.hold.go_on.set()
        data = await client.read_all()
        assert data.count(b"#") == len(node.hold.flushed) * PIECE + PIECE
        await waiting
        await node.forgotten()


@pytest.mark.gen_test
async def test_room_that_comes_just_before_a_write_is_used_by_it() -> None:
    async with listening() as node:
        client = await node.client(BUFFER)
        await client.send(get("/piecemeal", "Connection: close"))
        await until(lambda: node.hold.asked)
        node.hold.go_on.set()
        data = drained(client.socket)  # no turn of the loop: the handler goes on before the news of the room
        data += await client.read_all()
        assert data.count(b"#") == len(node.hold.flushed) * PIECE + PIECE
        await node.hold.flushed[-1]
        await node.forgotten()


def drained(connection: socket.socket) -> bytes:
    """Read all that the kernel holds on either side."""
    data = b""
    connection.settimeout(0.05)
    with suppress(TimeoutError):
        while more := connection.recv(1 << 20):
            data += more
    connection.setblocking(False)
    return data


@pytest.mark.gen_test
async def test_who_waits_no_longer_for_a_flush_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as node:
        client = await node.client(BUFFER)
        await client.send(get("/piecemeal"))
        await until(lambda: node.hold.asked)
        node.hold.flushed[-1].cancel()
        data = b""
        while data.count(b"#") < len(node.hold.flushed) * PIECE:
            data += await client.read()
        node.hold.go_on.set()
        while data.count(b"#") < len(node.hold.flushed) * PIECE + PIECE:
            data += await client.read()
        await client.send(post(b"next"))
        assert await body(client) == "next"
    assert caplog.records == []

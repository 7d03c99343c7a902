"""How connections end."""

import json
import logging
import socket
from typing import Any

import pytest

from client_support import Client, until
from connection_support import BUFFER, body, get, listening, post
from server_support import Clock, serving
from tornado_sse.listener import SLOW


@pytest.mark.gen_test
async def test_an_idle_connection_that_ends_is_forgotten() -> None:
    async with listening() as node:
        for request in (b"", get()):
            for end in (Client.close, Client.reset):
                client = await node.client()
                await client.send(request)
                if request:
                    await client.response()
                end(client)
        await node.forgotten()


@pytest.mark.parametrize("end", [Client.close, Client.reset])
@pytest.mark.gen_test
async def test_a_client_that_leaves_within_its_body_is_forgotten(end: Any) -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"hello")[:-1])
        await node.heard()
        end(client)
        await node.forgotten()


@pytest.mark.gen_test
async def test_a_hang_up_is_told_to_who_answers() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/held"))
        await until(lambda: node.hold.asked)
        client.reset()
        await until(lambda: node.hold.hung_up)
        await node.forgotten()
        node.hold.go_on.set()
        await until(lambda: node.hold.answered)
        assert node.hold.hung_up == 1


@pytest.mark.gen_test
async def test_a_hang_up_is_noticed_when_the_answer_is_written() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/held"))
        await until(lambda: node.hold.asked)
        client.reset()
        node.hold.go_on.set()  # the handler goes on before the loop looks at its sockets
        await until(lambda: node.hold.answered)
        await node.forgotten()


@pytest.mark.gen_test
async def test_who_only_ends_his_half_gets_his_answer() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/held") + post(b"next"))
        client.socket.shutdown(socket.SHUT_WR)
        await until(lambda: node.hold.asked)
        await node.heard()
        node.hold.go_on.set()
        assert (await client.response()).body == b"at last"
        assert await body(client) == "next"
        assert await client.read() == b""
        await node.forgotten()
        assert node.hold.hung_up == 0


@pytest.mark.gen_test
async def test_who_writes_on_and_on_is_told_of_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as node:
        client = await node.client(BUFFER)
        await client.send(get("/endless"))
        await until(lambda: node.hold.asked)
        node.hold.go_on.set()
        await client.read()
        client.reset()
        await until(lambda: node.hold.answered)
        assert len(node.hold.errors) == 1
        await node.forgotten()
    assert caplog.records == []


@pytest.mark.gen_test
async def test_who_does_not_read_on_is_cut_before_the_answer_is_whole(clock: Clock) -> None:
    async with listening(clock) as node:
        client = await node.client(BUFFER)
        await client.send(get("/endless"))
        await until(lambda: node.hold.asked)
        node.hold.go_on.set()
        await until(lambda: node.hold.flushed)
        clock.advance(SLOW - 1)
        await node.listener._cut()
        await client.read()
        assert len(node.listener.connections) == 1
        clock.advance(SLOW + 1)
        await node.listener._cut()
        await until(lambda: node.hold.answered)
        await node.forgotten()


@pytest.mark.gen_test
async def test_more_to_read_is_no_more_time(clock: Clock) -> None:
    async with listening(clock) as node:
        client = await node.client(BUFFER)
        await client.send(get("/piecemeal"))
        await until(lambda: node.hold.asked)
        clock.advance(SLOW)
        node.connection.write(b"more")
        await node.listener._cut()
        await node.forgotten()
        node.hold.go_on.set()
        await until(lambda: node.hold.answered)


@pytest.mark.gen_test
async def test_who_has_read_all_that_there_is_waits_for_us(clock: Clock) -> None:
    async with listening(clock) as node:
        client = await node.client(BUFFER)
        await client.send(get("/piecemeal"))
        await until(lambda: node.hold.asked)
        assert node.listener._expected
        while node.listener._expected:
            await client.read()
        clock.advance(SLOW + 1)
        await node.listener._cut()
        node.hold.go_on.set()
        await until(lambda: node.hold.answered)


@pytest.mark.gen_test
async def test_who_writes_after_the_end_is_told_at_once() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/endless"))
        await until(lambda: node.hold.asked)
        node.connection.close()
        node.hold.go_on.set()
        await until(lambda: node.hold.answered)
        assert len(node.hold.errors) == 1
        assert await client.read() == b""


@pytest.mark.parametrize("target", ["/failing", "/failing-streamed"])
@pytest.mark.parametrize("error", [RuntimeError("why"), OSError("why"), BlockingIOError("why")])
@pytest.mark.gen_test
async def test_a_handler_that_can_not_be_made_closes_the_connection(
    target: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(errors=[error]) as node:
        client = await node.client()
        with caplog.at_level(logging.ERROR, "tornado.application"):
            await client.send(get(target))
            await client.read_all()
        await node.forgotten()
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[1] is error


@pytest.mark.gen_test
async def test_news_of_nothing_is_no_harm() -> None:
    async with listening() as node:
        client = await node.client()
        await until(lambda: node.listener.connections)
        connection = node.connection
        connection.readable()
        connection.writable()
        await client.send(post(b"hello"))
        assert await body(client) == "hello"
        connection.close()
        connection.close()
        connection.finish()
        assert connection.detach().fileno() == -1


@pytest.mark.gen_test
async def test_a_socket_that_was_given_away_is_left_alone() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/taken") + b"stray bytes")
        await until(lambda: node.hold.sockets)
        await node.heard()
        await node.forgotten()
        await node.listener.close()
        (connection,) = node.hold.sockets
        assert connection.recv(100) == b"stray bytes"
        connection.send(b"hello")
        assert await client.read() == b"hello"
        assert node.hold.hung_up == 0


@pytest.mark.gen_test
async def test_what_comes_behind_a_connect_is_thrown_away() -> None:
    async with serving() as node:
        client = await node.client()
        authorization = f"Authorization: {node.bearer()['Authorization']}"
        await client.send(get("/sse/connect/s1", authorization) + get("/healthz"))
        await client.streaming()
        await client.send(get("/healthz"))
        await node.server.publish("all", json.dumps("hello"))
        assert await client.data() == '"hello"'
        client.close()
        await until(lambda: not node.streams)

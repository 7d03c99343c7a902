"""How streams end, and how the server hears of it."""

import socket

import pytest

from client_support import until
from server_support import Clock, serving
from slow_broker import SlowReplay


@pytest.mark.gen_test
async def test_stray_bytes_do_no_harm_and_the_close_behind_them_is_noticed_at_once() -> None:
    async with serving() as node:
        client = await node.opened()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        await node.server.publish("all", "still there")
        assert await client.data() == "still there"
        client.close()
        await until(lambda: node.streams == [])
        assert node.server.stats.streams_closed == {"client_gone": 1}


@pytest.mark.gen_test
async def test_bytes_sent_along_with_the_request_do_not_hide_the_close() -> None:
    async with serving() as node:
        client = await node.client()
        token = node.bearer()["Authorization"]
        await client.send(f"GET /sse/connect/s1 HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\nx".encode())
        await client.streaming()
        client.close()
        await until(lambda: node.server.stats.streams_closed == {"client_gone": 1})


@pytest.mark.parametrize("how", ["shutdown", "reset"])
@pytest.mark.gen_test
async def test_every_way_to_go_is_noticed(how: str) -> None:
    async with serving() as node:
        client = await node.opened()
        if how == "shutdown":
            client.socket.shutdown(socket.SHUT_WR)
        else:
            client.reset()
        await until(lambda: node.streams == [])
        assert node.server.stats.streams_closed == {"client_gone": 1}


@pytest.mark.gen_test
async def test_keepalives_arrive_and_peers_gone_silent_are_the_kernels_affair() -> None:
    async with serving(keepalive=0.1, tcp_user_timeout=12) as node:
        client = await node.opened()
        for _ in range(3):
            block = await client.next_block()
            assert block.comment
            assert block.fields == {}
        (stream,) = node.streams
        assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 12_000
        assert node.server.stats.keepalives_sent >= 3


@pytest.mark.gen_test
async def test_keepalives_arrive_while_the_node_has_not_come_to_where_the_past_ended(clock: Clock) -> None:
    """As when the broker is gone since then."""
    broker = SlowReplay(clock)
    broker.ahead = 5
    broker.go_on.set()
    async with serving(clock, broker) as node:
        client = await node.opened()
        for sent in range(1, 4):
            clock.advance(15)
            node.server.registry.tick()
            assert (await client.next_block()).comment
            assert node.server.stats.keepalives_sent == sent
        metrics = (await node.ask("/metrics", user=None, admin=True)).body.decode()
        assert "tornado_sse_backlogged_streams 0.0\n" in metrics
        for number in range(6):
            await node.server.publish("all", f"m{number}")
        assert await client.data() == "m5"


@pytest.mark.gen_test
async def test_a_stream_ends_when_its_token_does(clock: Clock) -> None:
    async with serving(clock) as node:
        client = await node.opened(ttl=90)
        short = await node.opened("s2", ttl=10)
        clock.advance(1)
        node.server.registry.tick()
        assert (await short.event()).json() == {"expiresIn": 9}
        clock.advance(60)
        node.server.registry.tick()
        assert (await short.event()).json() == {"reason": "expired", "reconnect": False}
        warning = await client.event()
        assert (warning.event, warning.json()) == ("stream-expiring", {"expiresIn": 29})
        clock.advance(30)
        node.server.registry.tick()
        (farewell,) = await client.rest()
        assert farewell.json() == {"reason": "expired", "reconnect": False}
        assert node.server.stats.streams_closed == {"expired": 2}


@pytest.mark.gen_test
async def test_a_token_that_lives_on_its_leeway_gives_a_stream_for_the_rest_of_it(clock: Clock) -> None:
    async with serving(clock, jwt_leeway=5) as node:
        client = await node.opened(ttl=-2)
        clock.advance(1)
        node.server.registry.tick()
        assert (await client.event()).event == "stream-expiring"
        clock.advance(3)
        node.server.registry.tick()
        assert (await client.event()).event == "stream-closing"


@pytest.mark.gen_test
async def test_a_reader_that_stalls_is_ended_when_its_outbox_is_full_and_others_have_none() -> None:
    async with serving(outbox_bytes=131_072) as node:
        stalled = await node.opened(receive_buffer=65536)
        healthy = await node.opened("s2")
        text, published = "x" * 10_000, 0
        while len(node.streams) == 2:
            await node.server.publish("all", text)
            published += len(text)
            assert await healthy.data() == text
            assert all(stream.session == "s1" for stream in node.server.registry.buffered)
        assert published > 131_072, "the kernel takes its part first"
        assert node.server.stats.streams_closed == {"slow": 1}
        stalled.close()

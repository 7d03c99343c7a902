"""Requests as they come in on a connection."""

import pytest

from client_support import until
from connection_support import BODY_BYTES, body, chunked, get, listening, post
from tornado_sse.connection import PEEK


@pytest.mark.gen_test
async def test_a_request_arrives_whole() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"h\xe9llo", "/?a=b", "X-Odd:\t a b "))
        fields = [["Content-Length", "5"], ["Host", "a"], ["X-Odd", "a b"]]
        account = {"asked": ["POST", "/?a=b", fields], "body": "h\xe9llo", "from": "127.0.0.1"}
        assert (await client.response()).json() == account
        assert node.connection.context.protocol == "http"


@pytest.mark.parametrize("request_bytes", [get("/?a=b"), post(b"hello")])
@pytest.mark.gen_test(timeout=30)
async def test_a_request_cut_anywhere_arrives_the_same(request_bytes: bytes) -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(request_bytes)
        whole = (await client.response()).json()
        for size in range(1, len(request_bytes)):
            client = await node.client()
            await client.send(request_bytes[:size])
            await node.heard()
            await client.send(request_bytes[size:])
            assert (await client.response()).json() == whole
            client.close()


@pytest.mark.gen_test
async def test_a_body_may_come_bit_by_bit() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"0123456789")[:-10])
        for digit in range(10):
            await node.heard()
            await client.send(b"%d" % digit)
        assert await body(client) == "0123456789"


@pytest.mark.gen_test
async def test_requests_that_come_at_once_are_answered_in_order() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(b"".join(post(b"%d" % number) for number in range(50)) + chunked(b"50") + post(b"51"))
        assert [await body(client) for _ in range(52)] == [str(number) for number in range(52)]


@pytest.mark.gen_test
async def test_what_comes_while_a_request_is_answered_waits() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get("/held"))
        await until(lambda: node.hold.asked)
        await client.send(post(b"next"))
        await node.heard()
        node.hold.go_on.set()
        assert (await client.response()).body == b"at last"
        assert await body(client) == "next"
        await client.send(post(b"and again"))
        assert await body(client) == "and again"


@pytest.mark.gen_test
async def test_a_connection_may_turn_to_chunks_and_back() -> None:
    async with listening() as node:
        client = await node.client()
        for request, sent in ((post(b"a"), "a"), (chunked(b"b"), "b"), (post(b"c"), "c"), (chunked(b"d"), "d")):
            await client.send(request)
            assert await body(client) == sent
        assert node.listener.connections == set(), "the rest of it is Tornado's"


@pytest.mark.gen_test
async def test_who_awaits_a_continue_gets_it() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"", "/", "Expect: 100-continue").replace(b"Length: 0", b"Length: 5"))
        assert (await client.response()).status == 100
        await client.send(b"hello")
        assert await body(client) == "hello"


@pytest.mark.gen_test
async def test_a_body_above_the_bound_is_for_tornado_to_refuse() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"x" * BODY_BYTES))
        assert await body(client) == "x" * BODY_BYTES
        await client.send(post(b"x" * (BODY_BYTES + 1)))
        assert await client.read_all() == b"HTTP/1.1 400 Bad Request\r\n\r\n"


@pytest.mark.parametrize("size", [PEEK - 1000, PEEK + 1000])
@pytest.mark.gen_test
async def test_a_long_head_is_read(size: int) -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(get(f"/?{'x' * size}"))
        assert (await client.response()).json()["asked"][1] == f"/?{'x' * size}"


@pytest.mark.gen_test
async def test_a_body_can_be_taken_as_it_comes() -> None:
    async with listening() as node:
        client = await node.client()
        for sent, chunks in ((b"hello", ["hello"]), (b"", [])):
            await client.send(post(sent, "/streamed"))
            assert (await client.response()).json() == {"chunks": chunks}
        await client.send(post(b"unread", "/streamed", "Never: 1") + post(b"yes", "/streamed"))
        assert (await client.response()).status == 403
        assert (await client.response()).json() == {"chunks": ["yes"]}


@pytest.mark.gen_test
async def test_a_handler_that_fails_at_the_body_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(post(b"fail", "/streamed"))
        assert await client.read_all() == b""
        await node.forgotten()
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["why"]

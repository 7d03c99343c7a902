"""Connections that Tornado serves: requests that are not plain."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_support import until
from connection_support import BODY_BYTES, BUFFER, LARGE, body, get, listening
from server_support import Clock
from tornado_sse.iostream import CHUNKS, END_OF_HEAD, BoundedStream
from tornado_sse.listener import SLOW, Listener
from tornado_sse.plain import MOST_FIELDS

TORNADOS_END = rb"\r?\n\r?\n"
ASKED = b"GET %b HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def waits(listener: Listener) -> bool:
    """Whether an answer of Tornado's waits for its client to read on."""
    return any(isinstance(waiting, BoundedStream) for waiting in listener._expected)


@given(st.lists(st.sampled_from([b"a", b":", b"\r", b"\n", b"\r\n"])).map(b"".join))
def test_a_head_ends_where_it_does_for_tornado(data: bytes) -> None:
    ours, theirs = re.search(END_OF_HEAD, data), re.search(TORNADOS_END, data)
    assert (ours and ours.end()) == (theirs and theirs.end())


@pytest.mark.parametrize(("twice", "status"), [(False, 200), (True, 200), (False, 400), (True, 400)])
@pytest.mark.gen_test
async def test_a_head_has_not_more_than_so_many_fields(*, twice: bool, status: int) -> None:
    """Plain or not: the same name twice is not."""
    count = MOST_FIELDS if status == 200 else MOST_FIELDS + 1
    fields = [f"X-{0 if twice else number}: 1" for number in range(count - 1)]
    async with listening() as node:
        client = await node.client()
        await client.send(get("/", *fields))
        assert (await client.read()).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.gen_test
async def test_who_does_not_read_an_answer_is_cut(clock: Clock) -> None:
    async with listening(clock) as node:
        client = await node.client(BUFFER)
        await client.send(ASKED % b"/large")
        await until(lambda: waits(node.listener))
        clock.advance(SLOW - 1)
        await node.listener._cut()
        assert waits(node.listener)
        clock.advance(2)
        await node.listener._cut()
        await until(lambda: not node.listener._http._connections)
        assert not waits(node.listener)
        assert len(await client.read_all()) < LARGE


@pytest.mark.gen_test
async def test_who_reads_on_is_not_cut(clock: Clock) -> None:
    async with listening(clock) as node:
        client = await node.client(BUFFER)
        await client.send(ASKED % b"/large")
        await until(lambda: waits(node.listener))
        read = 0
        while read < LARGE:
            clock.advance(SLOW - 1)
            await node.listener._cut()
            before = read
            while read < min(before + 4 * BUFFER, LARGE):
                read += len(await client.read())
        clock.advance(2 * SLOW)
        await node.listener._cut()
        await client.send(ASKED % b"/empty")
        assert b"HTTP/1.1 204" in await client.read(), "who has all is not waited for"


@pytest.mark.gen_test
async def test_a_body_of_very_many_chunks_leaves_their_turns_to_others() -> None:
    turns, count = 0, BODY_BYTES
    async with listening() as node:

        async def take_turns() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        client = await node.client()
        others = asyncio.create_task(take_turns())
        await client.send(CHUNKED + b"1\r\nx\r\n" * count + b"0\r\n\r\n")
        assert await body(client) == "x" * count
        others.cancel()
        assert turns >= count // CHUNKS


@pytest.mark.gen_test
async def test_a_client_that_leaves_within_its_chunks_is_forgotten() -> None:
    async with listening() as node:
        client = await node.client()
        await client.send(CHUNKED + b"1\r\nx\r\n" * (CHUNKS - 1))
        await node.heard()
        client.reset()
        await until(lambda: not node.listener._http._connections)

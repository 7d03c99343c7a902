"""Bodies that are too large, too slow or cut: on sockets, for only there one sees what a client sees."""

import gc
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from client_support import Client, Response, until
from server_support import Served, serving

LIMIT = 10_000
SETTINGS: dict[str, Any] = {"max_body_bytes": LIMIT, "max_message_bytes": 100}
TOO_LARGE = {"message": f"the body is above {LIMIT} bytes", "status": "CONTENT_TOO_LARGE"}
MESSAGE = json.dumps({"to": "all", "data": "hello"}).encode()


async def begin(node: Served, **headers: str) -> Client:
    """Send the head of a publish, and no body."""
    client = await node.client()
    every = node.bearer() | {"Content-Type": "application/json"}
    await client.request("/sse/publish", every | {k.replace("_", "-"): v for k, v in headers.items()}, method="POST")
    return client


MUCH: dict[str, Any] = {"max_body_bytes": 4_000_000}
PIECE = b" " * 50_000


@contextmanager
def traced() -> Iterator[None]:
    """Count memory, and have nothing collected that is not let go of."""
    gc.disable()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()


async def good(node: Served) -> Response:
    return await node.ask("/sse/publish", {"Content-Type": "application/json"}, method="POST", body=MESSAGE)


@pytest.mark.gen_test
async def test_a_body_at_the_limit_is_read() -> None:
    async with serving(**SETTINGS) as node:
        response = await node.ask("/sse/publish", method="POST", body=MESSAGE.ljust(LIMIT))
        assert response.status == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate, gzip", "identity, br", "unknown"])
@pytest.mark.gen_test
async def test_an_encoded_body_is_refused_for_what_it_is(coding: str) -> None:
    async with serving() as node:
        response = await node.ask("/sse/publish", {"Content-Encoding": coding}, method="POST", body=MESSAGE)
        assert response.status == 415
        assert response.json()["message"] == "the body must come without a Content-Encoding"
        assert response.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
@pytest.mark.gen_test
async def test_a_body_said_to_be_encoded_as_it_is_is_read(coding: str) -> None:
    async with serving() as node:
        response = await node.ask("/sse/publish", {"Content-Encoding": coding}, method="POST", body=MESSAGE)
        assert response.status == 200


@pytest.mark.parametrize("size", [LIMIT + 1, 8 * LIMIT])
@pytest.mark.gen_test
async def test_a_body_somewhat_too_large_is_read_to_its_end_and_answered(size: int) -> None:
    async with serving(**SETTINGS) as node:
        client = await begin(node, Content_Length=str(size))
        await client.send(b" " * (size - 1))
        await client.send(b" ")
        response = await client.response()
        assert (response.status, response.json()) == (413, TOO_LARGE)
        await client.request("/healthz")
        assert (await client.response()).status == 200, "the connection is still good"


@pytest.mark.parametrize("length", [8 * LIMIT + 1, 10**12, 10**18 - 1])
@pytest.mark.gen_test
async def test_a_body_declared_far_too_large_is_answered_at_once(length: int) -> None:
    async with serving(**SETTINGS) as node:
        client = await begin(node, Content_Length=str(length))
        response = await client.response()
        assert (response.status, response.json()) == (413, TOO_LARGE)
        assert await client.read() == b"", "nothing more is read, and nothing is said on top"
        assert (await good(node)).status == 200


@pytest.mark.parametrize("length", ["1" + "0" * 18, "9" * 5000, "-1", "x", "1.5"])
@pytest.mark.gen_test
async def test_a_length_that_is_nonsense_is_400(length: str) -> None:
    async with serving(**SETTINGS) as node:
        client = await begin(node, Content_Length=length)
        assert (await client.read_all()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert (await good(node)).status == 200


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.gen_test
async def test_a_body_in_chunks_is_read() -> None:
    async with serving(**SETTINGS) as node:
        client = await begin(node, Transfer_Encoding="chunked")
        await client.send(chunk(MESSAGE[:5]) + chunk(MESSAGE[5:]) + b"0\r\n\r\n")
        assert (await client.response()).status == 200


@pytest.mark.gen_test
async def test_chunks_somewhat_too_large_are_read_to_their_end_and_answered() -> None:
    async with serving(**SETTINGS) as node:
        client = await begin(node, Transfer_Encoding="chunked")
        await client.send(chunk(b" " * LIMIT) * 2 + b"0\r\n\r\n")
        response = await client.response()
        assert (response.status, response.json()) == (413, TOO_LARGE)


@pytest.mark.gen_test
async def test_chunks_without_end_are_answered_while_they_come() -> None:
    async with serving(**SETTINGS) as node:
        client = await begin(node, Transfer_Encoding="chunked")
        for _ in range(9):
            await client.send(chunk(b" " * LIMIT))
        response = await client.response()
        assert (response.status, response.json()) == (413, TOO_LARGE)
        assert await client.read() == b""
        assert (await good(node)).status == 200


@pytest.mark.gen_test
async def test_a_client_that_leaves_in_the_middle_does_no_harm() -> None:
    async with serving(**SETTINGS) as node:
        client = await begin(node, Content_Length="50")
        await client.send(b" " * 20)
        client.close()
        assert (await good(node)).status == 200
        assert node.server.stats.messages_published["accepted"] == 1


@pytest.mark.gen_test
async def test_a_body_that_was_here_before_the_handler_is_held_against_the_limit_too() -> None:
    async with serving(max_body_bytes=100, max_message_bytes=10) as node:
        for size in (101, 1000, 5000):
            answer = await node.ask("/sse/publish", method="POST", body=b"x" * size)
            assert (answer.status, answer.json()["status"]) == (413, "CONTENT_TOO_LARGE")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.gen_test
async def test_nothing_is_kept_of_a_body_that_nobody_wants(method: str) -> None:
    async with serving(**MUCH) as node:
        client = await node.client()
        await client.request("/sse/publish", {"Content-Length": str(60 * len(PIECE))}, method=method)
        with traced():
            for _ in range(60):
                await client.send(PIECE)
            answer = await client.response(to_head=method == "HEAD")
            assert tracemalloc.get_traced_memory()[1] < 20 * len(PIECE)
        assert answer.status == (204 if method == "OPTIONS" else 405)


@pytest.mark.gen_test
async def test_nothing_is_kept_of_a_body_whose_sender_left() -> None:
    async with serving(**MUCH) as node:
        with traced():
            client = await begin(node, Content_Length=str(4_000_000))
            for _ in range(60):
                await client.send(PIECE)
            await until(lambda: tracemalloc.get_traced_memory()[0] > 59 * len(PIECE))
            client.close()
            await until(lambda: tracemalloc.get_traced_memory()[0] < 20 * len(PIECE))
        assert not node.server.answering

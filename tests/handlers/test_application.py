import pytest

from client_support import Client
from server_support import Served, serving

MANY = "&".join(f"x{number}={number}" for number in range(1_999))


async def exchange(node: Served, request: bytes) -> tuple[Client, int, dict[str, str]]:
    client = await node.client()
    await client.send(request)
    response = await client.response()
    assert response.headers["content-type"] == "application/json"
    return client, response.status, response.json()


@pytest.mark.parametrize(
    ("request_text", "why"),
    [
        (f"GET /sse/connect/s1?{MANY} HTTP/1.1\r\nHost: a\r\n\r\n", "Invalid query string: "),
        ("GET / HTTP/1.1\r\n\r\n", "Missing Host header"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "Invalid Host header"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n", "Transfer-E"),
        (f"POST /sse/publish?{MANY} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "Invalid query string: "),
    ],
)
@pytest.mark.gen_test
async def test_a_malformed_request_is_400_in_the_error_shape(request_text: str, why: str) -> None:
    async with serving() as node:
        client, status, body = await exchange(node, request_text.encode())
        assert status == 400
        assert body.keys() == {"message", "status"}
        assert body["status"] == "BAD_REQUEST"
        assert body["message"].startswith(why)
        assert await client.read_all() == b"", "the connection ends, and nothing is said on top"


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a/b\r\nX: 1\r\nX: 2\r\n\r\n",
        "POST /sse/publish HTTP/1.1\r\nHost: a,b\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
@pytest.mark.gen_test
async def test_what_comes_behind_a_malformed_request_is_not_answered(request_text: str) -> None:
    async with serving() as node:
        client = await node.client()
        await client.send(request_text.encode() + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (400, "close")
        assert await client.read_all() == b""


@pytest.mark.gen_test
async def test_good_requests_are_none_the_wiser() -> None:
    async with serving() as node:
        client = await node.client()
        for _ in range(2):
            await client.request("/healthz")
            assert (await client.response()).status == 200
        body = b'{"to": "all", "data": "hello"}'
        assert (await node.ask("/sse/publish", method="POST", body=body)).status == 200


@pytest.mark.parametrize("target", ["/sse/publish", "/sse/sessions/s1/refresh"])
@pytest.mark.gen_test
async def test_a_client_that_leaves_within_its_body_is_forgotten(target: str) -> None:
    async with serving() as node:
        client = await node.client()
        await client.request(target, node.bearer() | {"Content-Length": "10"}, method="POST")
        await client.send(b"abc")
        client.close()
        assert (await node.ask("/healthz")).status == 200

from ipaddress import ip_network
from typing import Any

import pytest
from structlog.testing import capture_logs
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from client_support import until
from server_support import serving
from tornado_sse.handlers.address import client_address

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def request(peer: str | None, *forwarded: str) -> HTTPServerRequest:
    headers = HTTPHeaders({"Host": "sse.example"})
    for value in forwarded:
        headers.add("X-Forwarded-For", value)
    made = HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=headers)
    made.remote_ip = peer
    return made


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.9:4711"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["203.0.113.9, ::ffff:198.51.100.7, ::ffff:10.0.0.2"], "198.51.100.7"),
        ("::ffff:192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("", ["198.51.100.7"], ""),
        (None, ["198.51.100.7"], ""),
    ],
)
def test_a_trusted_proxy_is_believed_up_to_the_first_address_that_is_none(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    assert client_address(request(peer, *forwarded), TRUSTED) == address


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert client_address(request("10.0.0.1", "198.51.100.7"), []) == "10.0.0.1"


@pytest.mark.parametrize(
    ("settings", "address"), [({}, "127.0.0.1"), ({"trusted_proxies": ["127.0.0.0/8"]}, "198.51.100.7")]
)
@pytest.mark.gen_test
async def test_streams_are_counted_and_logged_by_the_clients_address(settings: dict[str, Any], address: str) -> None:
    async with serving(**settings) as node:
        client = await node.opened(headers={"X-Forwarded-For": "198.51.100.7", "X-Real-Ip": "203.0.113.9"})
        assert node.server.registry.addresses == {address: 1}
        with capture_logs() as logs:
            client.close()
            await until(lambda: logs != [])
        assert [entry["address"] for entry in logs] == [address]

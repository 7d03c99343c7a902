"""The client's address, behind proxies as well."""

from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address

from tornado.httputil import HTTPServerRequest

Networks = Collection[IPv4Network | IPv6Network]


def client_address(request: HTTPServerRequest, trusted: Networks) -> str:
    """Return the peer's address, or, from a trusted proxy, the last one in X-Forwarded-For that is not trusted.

    What stands before that was written by whoever sent the request, and is not believed.
    """
    address = request.remote_ip or ""
    if not trusted or not _is_trusted(address, trusted):
        return address
    for hop in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
        name = hop.strip()
        if not _is_address(name):
            break
        address = name
        if not _is_trusted(name, trusted):
            break
    return address


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(address: str, trusted: Networks) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in trusted)

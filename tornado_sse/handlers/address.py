"""The client's address, behind proxies as well."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from tornado.httputil import HTTPServerRequest

Networks = Collection[IPv4Network | IPv6Network]


def client_address(request: HTTPServerRequest, trusted: Networks) -> str:
    """Return the peer's address, or, from a trusted proxy, the last one in X-Forwarded-For that is not trusted.

    What stands before that was written by whoever sent the request, and is not believed.
    """
    address = request.remote_ip or ""
    if not trusted:
        return address
    hops = request.headers.get("X-Forwarded-For", "").split(",")
    for name in (address, *reversed(hops)):
        found = _read(name.strip())
        if found is None:
            break
        address = str(found)
        if not any(found in network for network in trusted):
            break
    return address


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address; an IPv4 one that a socket for both calls ::ffff:192.0.2.1 is 192.0.2.1 (RFC 4291 2.5.5.2)."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found

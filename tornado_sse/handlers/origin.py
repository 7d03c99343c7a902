"""Which pages may ask: CORS (WHATWG Fetch section 3.2), and the Origin check of what browsers send by themselves."""

from collections.abc import Collection, Iterator
from ipaddress import ip_address

from tornado.httputil import HTTPHeaders

ALLOWED_HEADERS = "Authorization, Content-Type, Last-Event-ID, Cache-Control"
PREFLIGHT_SECONDS = 600


def is_same_origin(origin: str, host: str) -> bool:
    """Whether a page of this server asks. The scheme is the proxy's affair, so the host decides."""
    return bool(host) and origin.partition("://")[2] == host.lower()


def is_local(host_name: str) -> bool:
    """Whether a request's host, without its port, is an address or localhost (RFC 6761 section 6.3).

    Any other name may be a foreign page's, whose DNS says by now that it is this machine (DNS rebinding).
    """
    try:
        ip_address(host_name.strip("[]"))
    except ValueError:
        return host_name == "localhost" or host_name.endswith(".localhost")
    return True


def is_allowed(headers: HTTPHeaders, allowed: Collection[str]) -> bool:
    """Whether the request's Origin, if it has one, is the server's own or on the list. `null` never is."""
    if "Origin" not in headers:
        return True
    origin = headers["Origin"]
    return origin in allowed or is_same_origin(origin, headers.get("Host", ""))


def proves_origin(headers: HTTPHeaders, allowed: Collection[str]) -> bool:
    """Whether the browser vouches that an allowed page asks: a cookie alone does not say who sent it along."""
    if "Origin" in headers:
        return is_allowed(headers, allowed)
    return headers.get("Sec-Fetch-Site") == "same-origin"


def cors_headers(headers: HTTPHeaders, allowed: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the answer's CORS headers: the very origin, never a star, for cookies may come along."""
    if not allowed:
        return
    yield "Vary", "Origin"
    origin = headers.get("Origin")
    if origin is not None and origin in allowed:
        yield "Access-Control-Allow-Origin", origin
        yield "Access-Control-Allow-Credentials", "true"
        yield "Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate"

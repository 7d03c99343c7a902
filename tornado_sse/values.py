"""Types of the settings' values, which say what is allowed when a value is refused."""

import ipaddress
import re
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from tornado_sse.keys import read_pem, secret_key


def _usable_secret(secret: SecretStr) -> SecretStr:
    secret_key(secret.get_secret_value())
    return secret


def _usable_key_file(path: Path) -> Path:
    read_pem(path)
    return path


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL that begins with http:// or https:// and names a host")
    return url


_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?")
_DEFAULT_PORTS = {("http", "80"), ("https", "443")}


def _exact_origin(origin: str) -> str:
    if "*" in origin:
        raise ValueError("an exact origin, no *: with it any site could read the events of a user who is signed in")
    match = _ORIGIN.fullmatch(origin)
    if match is None or match.groups() in _DEFAULT_PORTS:
        raise ValueError("scheme://host[:port] as browsers send it: lower case, no path, no default port")
    return origin


MAPPED_BITS = 96
"""How much of an IPv6 address says that the rest is an IPv4 one: ::ffff:0:0/96."""


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        network = ipaddress.ip_network(str(value))
    except ValueError as error:
        raise ValueError("an address, or a network without host bits, like 10.0.0.0/8 or ::1") from error
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped and network.prefixlen >= MAPPED_BITS:  # clients' addresses are read the same way
        return IPv4Network((mapped, network.prefixlen - MAPPED_BITS))
    return network


def _cookie_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]*", name):
        raise ValueError("a cookie name (RFC 6265 section 4.1.1), or empty for no cookie")
    return name


_HOST = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
_NATS = rf"(?:nats|tls)://{_HOST}"
_BROKER_FORMS = (
    rf"{_NATS}(?: *, *{_NATS})*",
    rf"rediss?://{_HOST}(?:/\d*)?",
    rf"rediss?\+sentinel://{_HOST}(?:,{_HOST})*/[^/]+(?:/\d*)?",
)


def _broker_url(url: str) -> str:
    if "@" in url:
        raise ValueError("a URL without user and password, which are settings of their own")
    if not any(re.fullmatch(form, url) for form in _BROKER_FORMS):
        raise ValueError(
            "nats://HOST[:PORT] or tls://, several with commas; redis://HOST[:PORT][/DB] or rediss://; "
            "redis+sentinel://HOST[:PORT],.../MASTER[/DB] or rediss+sentinel://"
        )
    for host in re.findall(rf"(?<=[/,]){_HOST}", url):
        urlsplit(f"//{host}").port  # noqa: B018 - raises ValueError for one that is too high
    return url


def _broker_prefix(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ValueError("1 to 64 letters, digits, _ and -")
    return name


_ANY_BROKER = {"broker_prefix", "broker_probe", "broker_user", "broker_password"}
_TLS = {"broker_ca", "broker_cert", "broker_key"}
_NATS_ONLY = {"broker_replicas", "broker_token", "broker_creds", "broker_nkey"}

BROKER_SETTINGS = frozenset(_ANY_BROKER | _TLS | _NATS_ONLY)
"""Settings that only a broker has a use for."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_redis(url: str) -> bool:
    """Whether a broker's URL leads to Redis, rather than to NATS."""
    return url.startswith("redis")


def settings_of_use(url: str | None) -> AbstractSet[str]:
    """Return which of BROKER_SETTINGS the broker of the URL has a use for; None is memory."""
    if url is None:
        return set()
    if is_redis(url):
        return _ANY_BROKER | _TLS if url.startswith("rediss") else _ANY_BROKER
    return BROKER_SETTINGS


Secret = Annotated[SecretStr, AfterValidator(_usable_secret)]
KeyFile = Annotated[Path, AfterValidator(_usable_key_file)]
Url = Annotated[str, AfterValidator(_http_url)]
Origin = Annotated[str, AfterValidator(_exact_origin)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
CookieName = Annotated[str, AfterValidator(_cookie_name)]
BrokerUrl = Annotated[str, AfterValidator(_broker_url)]
BrokerPrefix = Annotated[str, AfterValidator(_broker_prefix)]

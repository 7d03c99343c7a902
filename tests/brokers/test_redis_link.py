"""One connection to a real server, and its end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Connection
from redis.exceptions import ConnectionError as LinkLost
from redis.exceptions import InvalidResponse

from tornado_sse.brokers.redis.link import Link
from valkey_support import Valkey, valkey


def play(scenario: Callable[[Valkey, Link], Awaitable[None]]) -> None:
    async def run() -> None:
        async with valkey() as server:
            connection = Connection(host="127.0.0.1", port=server.port, protocol=2)
            await connection.connect()  # type: ignore[no-untyped-call]
            link = Link(connection, lambda _channel, _data: None)
            try:
                await scenario(server, link)
            finally:
                await link.close()

    asyncio.run(run())


def test_nothing_is_sent_when_the_connection_is_lost() -> None:
    async def scenario(server: Valkey, link: Link) -> None:
        assert await link.call("PING", "x") == b"x"
        server.kill()
        await link.lost
        assert link.is_lost
        for attempt in (link.call("PING", "x"), link.tell("SUBSCRIBE", "x")):
            with pytest.raises(LinkLost):
                await attempt

    play(scenario)


def test_an_answer_that_nobody_asked_for_is_the_end() -> None:
    async def scenario(_: Valkey, link: Link) -> None:
        await link.tell("NONSENSE")
        assert isinstance(await link.lost, InvalidResponse)

    play(scenario)


def test_an_answer_that_nobody_waits_for_any_more_is_passed_over() -> None:
    async def scenario(_: Valkey, link: Link) -> None:
        given_up = asyncio.create_task(link.call("PING", "1"))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await link.call("PING", "2") == b"2"

    play(scenario)

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server_support import SECRET
from tornado_sse.config import Settings
from tornado_sse.workers import words
from tornado_sse.workers.words import Channel, Figures, Order, Report, Stop, Tell


def test_settings_come_back_as_they_were_secrets_too() -> None:
    settings = Settings(
        jwt_secret=SECRET,
        port=0,
        trusted_proxies="10.0.0.0/8,::1",
        jwt_algorithms=["HS256"],
        broker="nats://127.0.0.1:1",
        broker_token="t",
        broker_ca="/some/file",
        slow_policy="conflate",
        retry=1.5,
    )
    assert Settings(**json.loads(json.dumps(words.spell(settings)))) == settings


@asynccontextmanager
async def both_ends() -> AsyncIterator[tuple[Channel[Report], Channel[Order]]]:
    one, other = socket.socketpair()
    supervisor, worker = await words.reports(one), await words.orders(other)
    yield supervisor, worker
    supervisor.close()
    worker.close()


@pytest.mark.gen_test
async def test_words_arrive_in_order() -> None:
    async with both_ends() as (supervisor, worker):
        supervisor.say(Tell(7))
        supervisor.say(Stop(at_once=True))
        assert [await worker.hear(), await worker.hear()] == [Tell(7), Stop(at_once=True)]
        figures = Figures(7, ready=True, metrics="a 1\n" * 100_000)
        worker.say(figures)
        assert await supervisor.hear() == figures


@pytest.mark.gen_test
async def test_the_end_of_the_other_side_is_heard() -> None:
    async with both_ends() as (supervisor, worker):
        worker.close()
        assert await supervisor.hear() is None


@pytest.mark.gen_test
async def test_a_word_that_was_cut_off_is_none() -> None:
    one, other = socket.socketpair()
    channel = await words.orders(one)
    other.sendall(b'{"type":')
    other.close()
    assert await channel.hear() is None
    channel.close()


@pytest.mark.gen_test
async def test_a_reset_is_an_end() -> None:
    class Reset(asyncio.StreamReader):
        async def readline(self) -> bytes:
            raise ConnectionResetError

    async with both_ends() as (supervisor, _):
        assert await Channel[Order](Reset(), supervisor._writer, Order).hear() is None

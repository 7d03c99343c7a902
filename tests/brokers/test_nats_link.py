"""One connection to NATS, and its end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from nats.aio.msg import Msg

from nats_support import PATIENCE, shared_server
from tcp_proxy import tcp_proxy
from tornado_sse.brokers.nats.layout import Layout
from tornado_sse.brokers.nats.link import Link, Sink
from tornado_sse.brokers.nats.reader import Reader
from tornado_sse.brokers.nats.shared import Shared
from tornado_sse.errors import Unavailable


def play(scenario: Callable[[Link], Awaitable[None]]) -> None:
    async def run() -> None:
        link = Link(PATIENCE)
        await link.connect([shared_server().url])
        try:
            await scenario(link)
        finally:
            await link.close()

    asyncio.run(run())


def test_subscriptions_share_one_place_in_the_order_of_arrival() -> None:
    async def scenario(link: Link) -> None:
        heard: list[tuple[str, bytes]] = []
        all_there = asyncio.Event()

        def take(message: Msg) -> None:
            heard.append((message.subject, message.data))
            if len(heard) == 4:
                all_there.set()

        sink = Sink(take)
        for subject in ("a.link", "b.link"):
            await link.subscribe(subject, sink)
        for number in range(4):
            await link.send(f"{'ab'[number % 2]}.link", b"%d" % number, None)
        await asyncio.wait_for(all_there.wait(), PATIENCE)
        assert heard == [("a.link", b"0"), ("b.link", b"1"), ("a.link", b"2"), ("b.link", b"3")]

    play(scenario)


def test_headers_are_read_as_they_were_sent() -> None:
    async def scenario(link: Link) -> None:
        with link.expect() as reply:
            await link.send(reply.subject, b"x", {"A-Name": "a: value", "Empty": ""})
            (message,) = await link.within(reply.future)
        assert message.headers == {"A-Name": "a: value", "Empty": ""}

    play(scenario)


def test_what_comes_after_the_last_reply_is_dropped() -> None:
    async def scenario(link: Link) -> None:
        with link.expect() as reply, link.expect() as other:
            for subject in (reply.subject, reply.subject, other.subject):
                await link.send(subject, b"x", None)
            await link.within(other.future)
            messages = await link.within(reply.future)
            assert len(messages) == 1
        await link.send(reply.subject, b"late", None)

    play(scenario)


def test_at_its_end_nobody_waits() -> None:
    async def scenario(link: Link) -> None:
        subscription = await link.subscribe("a.link", Sink(lambda _: None))
        with link.expect() as reply, link.expect() as other:
            waits = [asyncio.ensure_future(link.within(one.future)) for one in (reply, other)]
            await asyncio.sleep(0)
            other.future.set_result([])
            await link.close()
            with pytest.raises(Unavailable, match="out of reach"):
                await waits[0]
            assert await waits[1] == []
            with pytest.raises(Unavailable, match="out of reach"):
                await link.within(reply.future)
        with pytest.raises(Unavailable):
            await link.subscribe("a.link", Sink(lambda _: None))
        with pytest.raises(Unavailable):
            await link.send("a.link", b"", None)
        await link.unsubscribe([subscription])

    play(scenario)


def test_it_ends_at_once_though_the_peer_takes_nothing() -> None:
    async def run() -> None:
        async with tcp_proxy(shared_server().port) as proxy:
            link = Link(1.0)
            await link.connect([f"nats://127.0.0.1:{proxy.port}"])
            proxy.stall()
            with pytest.raises(Unavailable, match="in time"):
                await asyncio.gather(*(link.send_json("a.link", "x" * 500_000, "") for _ in range(40)))
            link._deadline = 2 * PATIENCE
            async with asyncio.timeout(PATIENCE):
                await link.close()

    asyncio.run(run())


# One answer for all who ask


def test_those_who_come_while_a_question_is_under_way_share_the_next() -> None:
    async def scenario() -> None:
        asked = 0
        go_on = asyncio.Event()

        async def ask() -> int:
            nonlocal asked
            asked += 1
            mine = asked
            await go_on.wait()
            return mine

        shared = Shared(ask)
        first = asyncio.ensure_future(shared())
        while not asked:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(shared()) for _ in range(3)]
        await asyncio.sleep(0)
        go_on.set()
        assert [await first, *[await other for other in others]] == [1, 2, 2, 2]
        assert await shared() == 3

    asyncio.run(scenario())


def test_a_question_goes_on_without_who_asked() -> None:
    async def scenario() -> None:
        async def fail() -> int:
            await asyncio.sleep(0)
            raise Unavailable("no")

        shared = Shared(fail)
        waiting = asyncio.ensure_future(shared())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(Unavailable):
            await shared()

    asyncio.run(scenario())


def test_a_stream_that_is_not_there_is_gone() -> None:
    async def run() -> None:
        link = Link(PATIENCE)
        await link.connect([shared_server().url])
        try:
            with pytest.raises(Unavailable, match="the stream is gone"):
                await Reader(link, Layout("none", size=1, ttl=1, max_bytes=1, window=1), anchor="a").present()
        finally:
            await link.close()

    asyncio.run(run())

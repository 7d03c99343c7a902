"""Two nodes on one engine are one hub."""

import asyncio
import json
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
import redis

from client_support import until
from outage_support import ENGINES, PROBE, Engine, EngineFactory
from outage_support import nats as nats_engine
from outage_support import redis as redis_engine
from serve_support import served
from server_support import Served, serving

BODY = {"Content-Type": "application/json"}

EVERY_ENGINE = pytest.mark.parametrize("make", [pytest.param(one, id=one.__name__) for one in ENGINES])


@asynccontextmanager
async def two_nodes(make: EngineFactory) -> AsyncIterator[tuple[Engine, Served, Served]]:
    async with (
        make() as engine,
        serving(broker=engine.url) as one,
        serving(broker=engine.url) as two,
    ):
        yield engine, one, two


async def publish(node: Served, to: object, data: object) -> tuple[int, str]:
    body = json.dumps({"to": to, "data": data}).encode()
    answer = await node.ask("/sse/publish", BODY, method="POST", body=body)
    return answer.status, answer.headers.get("retry-after", "")


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_streams_get_what_is_published_on_any_node_and_resume_on_another(make: EngineFactory) -> None:
    async with two_nodes(make) as (_, one, two):
        here = await one.opened()
        there = await two.opened("s2", user="u2", query="?channel=news", channels=["news"])
        await publish(two, {"user": "u1"}, "to u1")
        await publish(one, [{"channel": "news"}, {"user": "u1"}], "to both")
        first, last = await here.event(), await here.event()
        assert [first.data, last.data] == ["to u1", "to both"]
        assert (await there.event()).data == "to both"
        here.close()
        await publish(one, {"user": "u1"}, "missed")
        again = await two.connect(headers={"Last-Event-ID": str(first.id)})
        assert [(await again.event()).data for _ in range(2)] == ["to both", "missed"]
        await publish(one, "all", "live")
        assert (await again.event()).data == "live"


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_a_disconnect_reaches_the_node_that_has_the_stream(make: EngineFactory) -> None:
    async with two_nodes(make) as (_, one, two):
        client = await one.opened()
        await two.server.disconnect("u1", "s1")
        assert (await client.event()).event == "stream-closing"
        await until(lambda: not one.streams)
        for node in (one, two):
            assert (await node.ask("/sse/connect/s1")).status == 204


def disconnected(node: Served, session: str) -> bool:
    return node.server.registry.sessions.is_disconnected("u1", session)


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_a_session_is_ended_from_any_node(make: EngineFactory) -> None:
    async with two_nodes(make) as (_, one, two):
        foreign = await one.opened(user="u2")
        for session, by in [("s1", one), ("s2", two), ("nowhere", two)]:
            clients = [await node.opened(session) for node in (one, two)] if session != "nowhere" else []
            assert (await by.ask(f"/sse/disconnect/{session}", method="DELETE")).status == 200
            for client in clients:
                assert (await client.rest())[-1].json() == {"reason": "disconnected", "reconnect": False}
            await until(lambda session=session: all(disconnected(node, session) for node in (one, two)))  # type: ignore[misc]
            for node in (one, two):
                assert (await node.ask(f"/sse/connect/{session}")).status == 204
        await publish(two, "all", "still there")
        assert await foreign.data() == "still there"


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_a_session_is_lengthened_from_any_node(make: EngineFactory) -> None:
    async with two_nodes(make) as (_, one, two):
        await one.opened(query="?channel=news", ttl=60)
        await two.opened(query="?channel=sports", ttl=60)
        (news,), (sports,) = one.streams, two.streams

        async def refresh(node: Served, user: str = "u1", **claims: Any) -> tuple[int, int]:
            answer = await node.ask("/sse/sessions/s1/refresh", node.bearer(user, **claims), method="POST")
            return answer.status, answer.json()["expiresAt"]

        assert await refresh(one, ttl=600, channels=["news"]) == (200, int(news.expires_at))
        status, end = await refresh(two, ttl=900, channels=["news"])
        await until(lambda: int(news.expires_at) == end)
        assert status == 202, "another node has the stream"
        assert sports.expires_at < time.time() + 60, "the token does not allow its channel"
        for node in (one, two):
            assert (await refresh(node, "u2", ttl=5000))[0] == 202
        _, last = await refresh(two, ttl=1200)  # behind the stranger's, on every node
        await until(lambda: int(news.expires_at) == int(sports.expires_at) == last)


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_a_stranger_learns_nothing_of_a_session_from_any_node(make: EngineFactory) -> None:
    async with two_nodes(make) as (_, one, two):
        client = await one.opened()
        thief = one.bearer("thief")
        for node in (one, two):
            for method, path in [("DELETE", "/sse/disconnect/{}"), ("POST", "/sse/sessions/{}/refresh")]:
                answers = [await node.ask(path.format(name), thief, method=method) for name in ("s1", "unknown")]
                assert len({(answer.status, answer.body) for answer in answers}) == 1
        await publish(two, {"user": "u1", "session": "s1"}, "still there")
        assert await client.data() == "still there"


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_minting_sending_and_ending_work_from_another_node_than_the_streams(make: EngineFactory) -> None:
    async with two_nodes(make) as (_, one, two):
        headers = BODY | one.bearer(scopes=["sessions"])
        answer = await one.ask("/sse/sessions", headers, method="POST", body=b'{"userId": "u1"}')
        session = answer.json()["sessionId"]
        client = await two.opened(session, headers={"Authorization": ""})
        assert (await one.ask("/sse/send?userId=u1&message=sent")).status == 200
        await publish(one, {"user": "u1", "session": session}, "published")
        assert [await client.data(), await client.data()] == ["sent", "published"]
        assert (await one.ask(f"/sse/disconnect/{session}", method="DELETE", user=None)).status == 200
        assert (await client.rest())[-1].event == "stream-closing"
        await until(lambda: disconnected(one, session))
        assert (await one.ask(f"/sse/connect/{session}", method="HEAD", user=None)).status == 204
        await two.opened("s2")
        await one.server.revoke("u1")
        await until(lambda: not two.streams)


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_an_outage_is_answered_503_and_streams_stay_and_go_on(make: EngineFactory) -> None:
    async with two_nodes(make) as (engine, one, two):
        client = await one.opened()
        await publish(two, {"user": "u1"}, "before")
        assert (await client.event()).data == "before"
        engine.kill()
        await until(lambda: not (one.server.ready or two.server.ready))
        assert await publish(two, {"user": "u1"}, "lost") == (503, "1")
        assert (await one.ask("/readyz", admin=True)).status == 503
        engine.start()
        await until(lambda: one.server.ready and two.server.ready)
        assert await publish(two, {"user": "u1"}, "after") == (200, "")
        event = await client.event()
        if not engine.durable:
            assert (event.event, event.json()["reason"]) == ("stream-gap", "epoch")
            event = await client.event()
        assert event.data == "after"
        assert one.server.stats.broker_reconnects == 1


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_a_black_hole_is_answered_503_and_what_was_missed_comes_before_what_is_live(make: EngineFactory) -> None:
    async with (
        make() as engine,
        serving(broker=engine.far_url, broker_probe=PROBE) as far,
        serving(broker=engine.url) as near,
    ):
        client = await far.opened()
        await publish(near, {"user": "u1"}, "before")
        assert await client.data() == "before"
        engine.proxy.stall()
        assert await publish(far, {"channel": "c"}, "into the hole") == (503, "1")
        await until(lambda: not far.server.ready)
        assert (await far.ask("/readyz", admin=True)).status == 503
        for number in range(3):
            assert await publish(near, {"user": "u1"}, f"missed {number}") == (200, "")
        engine.proxy.flow()
        await until(lambda: far.server.ready)
        assert await publish(near, {"user": "u1"}, "live") == (200, "")
        assert [await client.data() for _ in range(4)] == ["missed 0", "missed 1", "missed 2", "live"]


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_lost_history_is_told_to_open_streams_which_go_on(make: EngineFactory) -> None:
    async with two_nodes(make) as (engine, one, two):
        client = await one.opened()
        await publish(one, {"user": "u1"}, "before")
        assert (await client.event()).data == "before"
        engine.kill()
        engine.forget()
        engine.start()
        gap = await client.event()
        assert (gap.event, gap.json()["reason"]) == ("stream-gap", "epoch")
        await until(lambda: one.server.ready and two.server.ready)
        assert await publish(two, {"user": "u1"}, "again") == (200, "")
        assert (await client.event()).data == "again"


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_a_cap_of_streams_is_for_all_nodes_together_and_a_dead_one_does_not_count(make: EngineFactory) -> None:
    cap: Any = {"max_streams_per_user": 2}
    async with make() as engine, serving(broker=engine.url, **cap) as alive, served(broker=engine.url, **cap) as dying:
        for session in ("s1", "s2"):
            await dying.opened(session)
        await until(lambda: alive.server.census.elsewhere("u1") == 2)
        assert (await alive.ask("/sse/connect/s3")).status == 429
        await alive.opened(user="u2")
        dying.send_signal(signal.SIGKILL)
        await dying.exit_code()
        await until(lambda: alive.server.census.elsewhere("u1") == 0)
        await alive.opened("s3")


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_a_cap_that_replaces_ends_the_stream_on_the_node_that_has_it(make: EngineFactory) -> None:
    cap: Any = {"max_streams_per_user": 1, "user_cap_policy": "replace"}
    async with make() as engine, serving(broker=engine.url, **cap) as one, serving(broker=engine.url, **cap) as two:
        first = await one.opened("s1")
        await until(lambda: two.server.census.elsewhere("u1") == 1)
        await two.opened("s2")
        assert (await first.rest())[-1].json() == {"reason": "replaced", "reconnect": False}
        await until(lambda: two.server.census.elsewhere("u1") == 0 and one.server.census.elsewhere("u1") == 1)
        assert (len(one.streams), len(two.streams)) == (0, 1)


@EVERY_ENGINE
@pytest.mark.gen_test
async def test_counts_are_known_again_after_an_outage(make: EngineFactory) -> None:
    async with two_nodes(make) as (engine, one, two):
        for session in range(5):
            await one.opened(f"s{session}")
        await until(lambda: two.server.census.elsewhere("u1") == 5)
        engine.kill()
        await until(lambda: two.server.census.elsewhere("u1") == 0)
        engine.start()
        await until(lambda: two.server.census.elsewhere("u1") == 5)


def examples() -> list[str]:
    text = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.gen_test
async def test_the_documented_way_to_publish_to_nats() -> None:
    async with nats_engine() as engine, serving(broker=engine.url) as node:
        client = await node.opened(user="ann@example.com")
        names: dict[str, object] = {"nats": nats}
        code = examples()[0].replace("nats://127.0.0.1:4222", engine.url).replace("asyncio.run(main())", "")
        exec(code, names)  # noqa: S102 - our own documentation
        await names["main"]()  # type: ignore[operator]
        event = await client.event()
        assert (event.event, event.json()) == ("order", {"id": 7})


@pytest.mark.gen_test
async def test_the_documented_way_to_publish_to_redis() -> None:
    async with redis_engine() as engine, serving(broker=engine.url) as node:
        client = await node.opened()
        code = examples()[1].replace("redis://127.0.0.1:6379", engine.url)
        await asyncio.to_thread(exec, code, {"redis": redis})
        event = await client.event()
        assert (event.event, event.json()) == ("order", {"id": 7})

"""Two nodes on one NATS server are one hub."""

import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest

from client_support import until
from nats_support import NatsServer, shared_server
from server_support import Served, serving

BODY = {"Content-Type": "application/json"}


@asynccontextmanager
async def two_nodes(server: NatsServer, prefix: str | None = None) -> AsyncIterator[tuple[Served, Served]]:
    prefix = prefix or "t" + secrets.token_hex(6)
    async with (
        serving(broker=server.url, broker_prefix=prefix, broker_probe=0.3) as one,
        serving(broker=server.url, broker_prefix=prefix, broker_probe=0.3) as two,
    ):
        yield one, two


async def publish(node: Served, to: object, data: object) -> tuple[int, str]:
    body = json.dumps({"to": to, "data": data}).encode()
    answer = await node.ask("/sse/publish", BODY, method="POST", body=body)
    return answer.status, answer.headers.get("retry-after", "")


@pytest.mark.gen_test(timeout=20)
async def test_streams_get_what_is_published_on_any_node_and_resume_on_another() -> None:
    async with two_nodes(shared_server()) as (one, two):
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


@pytest.mark.gen_test(timeout=20)
async def test_a_disconnect_reaches_the_node_that_has_the_stream() -> None:
    async with two_nodes(shared_server()) as (one, two):
        client = await one.opened()
        await two.server.disconnect("u1", "s1")
        assert (await client.event()).event == "stream-closing"
        await until(lambda: not one.streams)
        for node in (one, two):
            assert (await node.ask("/sse/connect/s1")).status == 204


@pytest.mark.gen_test(timeout=30)
async def test_an_outage_is_answered_503_and_streams_stay_and_go_on() -> None:
    server = NatsServer()
    server.start()
    try:
        async with two_nodes(server, "sse") as (one, two):
            client = await one.opened()
            await publish(two, {"user": "u1"}, "before")
            server.stop()
            await until(lambda: not (one.server.ready or two.server.ready))
            assert await publish(two, {"user": "u1"}, "lost") == (503, "1")
            assert (await one.ask("/readyz", admin=True)).status == 503
            server.start()
            await until(lambda: one.server.ready and two.server.ready)
            assert await publish(two, {"user": "u1"}, "after") == (200, "")
            assert [(await client.event()).data for _ in range(2)] == ["before", "after"]
            assert one.server.stats.broker_reconnects == 1
            server.stop()
            server.forget()
            server.start()
            gap = await client.event()
            assert (gap.event, gap.json()["reason"]) == ("stream-gap", "epoch")
            assert await publish(one, {"user": "u1"}, "again") == (200, "")
            assert (await client.event()).data == "again"
    finally:
        server.close()


@pytest.mark.gen_test(timeout=20)
async def test_the_example_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    prefix = "t" + secrets.token_hex(6)
    code = code.replace("nats://127.0.0.1:4222", shared_server().url).replace("sse.m.", f"{prefix}.m.")
    names: dict[str, object] = {"nats": nats}
    async with serving(broker=shared_server().url, broker_prefix=prefix) as node:
        client = await node.opened(user="ann@example.com")
        exec(code.replace("asyncio.run(main())", ""), names)  # noqa: S102 - our own documentation
        await names["main"]()  # type: ignore[operator]
        event = await client.event()
        assert (event.event, event.json()) == ("order", {"id": 7})

"""Streams that several tabs share: told through which channels a message came, and never refused for one of them."""

from urllib.parse import quote

import pytest

from client_support import Client
from server_support import Clock, serving


async def begun(client: Client) -> tuple[object, list[str]]:
    """Read up to the end of what a resumed stream begins with: what it was told, and then the data that came."""
    opened = await client.next_block()
    assert opened.event == "stream-opened"
    data: list[str] = []
    while (block := await client.next_block()).data is not None or block.retry:
        data += [block.data] if block.data else []
    assert block.id == opened.json()["now"]
    return opened.json()["channels"], data


@pytest.mark.gen_test
async def test_each_message_names_the_channels_that_it_came_through() -> None:
    async with serving() as node:
        client = await node.connect(query="?labels=true&channel=a&channel=b")
        plain = await node.opened(query="?channel=a")
        opened = await client.next_block()
        assert opened.json() == {"channels": ["a", "b"], "now": opened.id}
        assert (await client.next_block()).id == opened.id
        receipt = await node.server.publish({"channel": "a"}, "one")
        assert receipt.streams == 2
        await node.server.publish([{"channel": "b"}, {"channel": "secret"}, {"channel": "a"}], "two")
        await node.server.publish([{"channel": "b"}, {"user": "u1"}], "three")
        blocks = [await client.next_block() for _ in range(3)]
        assert [(block.data, block.fields.get("channel")) for block in blocks] == [
            ("one", "a"),
            ("two", "b\na"),
            ("three", None),
        ]
        blocks = [await plain.next_block() for _ in range(3)]
        assert [(block.data, block.fields.get("channel")) for block in blocks] == [
            ("one", None),
            ("two", None),
            ("three", None),
        ]


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.gen_test
async def test_what_was_missed_is_labelled_too(encoding: str) -> None:
    async with serving(compression=True) as node:
        first = await node.server.publish("all", "known")
        await node.server.publish([{"channel": "a"}, {"channel": "b"}], "missed")
        await node.server.publish("all", "for all")
        query = f"?labels=true&channel=a&lastEventId={first.position}"
        client = await node.connect(query=query, headers={"Accept-Encoding": encoding})
        assert (await client.next_block()).event == "stream-opened"
        assert (await client.next_block()).id == str(first.position)
        blocks = [await client.next_block() for _ in range(2)]
        assert [(block.data, block.fields.get("channel")) for block in blocks] == [("missed", "a"), ("for all", None)]


@pytest.mark.gen_test
async def test_channels_that_cannot_be_had_are_left_out() -> None:
    async with serving(max_channels=2) as node:
        names = ["secret", "bad*", "", "news.a", "news.b", "news.a", "news.c"]
        query = "".join(f"&channel={quote(name)}" for name in names)
        client = await node.connect(query=f"?labels=true{query}", channels=["news.*"])
        assert (await client.next_block()).json()["channels"] == ["news.a", "news.b"]
        assert [stream.channels for stream in node.streams] == [("news.a", "news.b")]
        assert (await node.ask(f"/sse/connect/s1?labels=false{query}")).status == 400


@pytest.mark.gen_test
async def test_a_fresh_channel_begins_now_while_the_others_are_resumed() -> None:
    async with serving() as node:
        first = await node.server.publish("all", "known")
        await node.server.publish({"channel": "a"}, "missed")
        await node.server.publish({"channel": "b"}, "before")
        query = f"?labels=true&channel=a&channel=b&fresh=b&lastEventId={first.position}"
        client = await node.connect(query=query)
        assert await begun(client) == (["a", "b"], ["missed"])
        await node.server.publish({"channel": "b"}, "live")
        assert await client.data() == "live"


@pytest.mark.gen_test
async def test_what_a_fresh_channel_lost_is_no_gap(clock: Clock) -> None:
    async with serving(clock, history_size=2) as node:
        first = await node.server.publish({"channel": "a"}, "known")
        for number in range(5):
            await node.server.publish({"channel": "busy"}, number)
        client = await node.connect(
            query=f"?labels=true&channel=a&channel=busy&fresh=busy&lastEventId={first.position}"
        )
        assert await begun(client) == (["a", "busy"], [])
        assert node.server.stats.gaps == {}


@pytest.mark.gen_test
async def test_a_labelled_stream_is_forgotten_like_any_other() -> None:
    async with serving() as node:
        await node.opened(query="?labels=true&channel=a")
        await node.server.disconnect("u1", "s1")
        assert (await node.server.publish({"channel": "a"}, "nobody")).streams == 0
        assert node.server.registry.hub.labelling == 0

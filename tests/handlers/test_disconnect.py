import pytest

from server_support import Clock, Served, serving
from slow_broker import Shared
from tornado_sse.brokers.base import Disconnect

BYE = {"reason": "disconnected", "reconnect": False}


async def disconnect(node: Served, session: str, user: str | None = "u1") -> int:
    return (await node.ask(f"/sse/disconnect/{session}", method="DELETE", user=user)).status


@pytest.mark.gen_test
async def test_ends_all_streams_of_the_session_after_a_farewell() -> None:
    async with serving() as node:
        tabs = [await node.opened(), await node.opened()]
        other = await node.opened("s2")
        await node.server.publish("all", "before")
        assert await disconnect(node, "s1") == 200
        for tab in tabs:
            before, bye = await tab.rest()
            assert before.data == "before"
            assert (bye.event, bye.json()) == ("stream-closing", BYE)
        await node.server.publish("all", "after")
        assert [await other.data(), await other.data()] == ["before", "after"]
        assert node.server.stats.streams_closed == {"disconnected": 2}


@pytest.mark.gen_test
async def test_unknown_and_foreign_sessions_look_the_same() -> None:
    async with serving() as node:
        client = await node.opened(user="u2")
        answers = [await node.ask(f"/sse/disconnect/{session}", method="DELETE") for session in ("s1", "unknown")]
        assert [answer.status for answer in answers] == [404, 404]
        assert answers[0].body == answers[1].body
        assert answers[0].json() == {"message": "there is no such session", "status": "NOT_FOUND"}
        await node.server.publish("all", "still there")
        assert await client.data() == "still there"


@pytest.mark.gen_test
async def test_a_session_between_two_connects_can_be_disconnected(clock: Clock) -> None:
    async with serving(clock) as node:
        await node.opened()
        node.server.registry.abandon_all()
        assert await disconnect(node, "s1") == 200
        assert (await node.ask("/sse/connect/s1")).status == 204
        assert await disconnect(node, "s1") == 404, "it is gone already"


@pytest.mark.gen_test
async def test_a_minted_session_can_be_disconnected_by_nothing_but_its_id() -> None:
    async with serving() as node:
        minted = node.server.mint("u1").session_id
        assert await disconnect(node, minted, None) == 200
        assert (await node.ask(f"/sse/connect/{minted}", user=None)).status == 204
        assert await disconnect(node, minted, None) == 404


@pytest.mark.gen_test
async def test_a_minted_session_that_outlived_its_id_can_be_disconnected_with_a_token(clock: Clock) -> None:
    async with serving(clock) as node:
        minted = node.server.mint("u1", 60).session_id
        client = await node.opened(minted)
        clock.advance(61)
        assert await disconnect(node, minted, None) == 401
        assert await disconnect(node, minted, "u2") == 401
        assert await disconnect(node, minted) == 200
        assert (await client.rest())[-1].json() == BYE


@pytest.mark.gen_test
async def test_wants_a_credential() -> None:
    async with serving() as node:
        assert await disconnect(node, "s1", None) == 401
        assert (await node.ask("/sse/disconnect/s1")).status == 405


@pytest.mark.gen_test
async def test_where_there_may_be_other_nodes_all_are_told_and_nothing_is_said_of_what_there_is(clock: Clock) -> None:
    broker = Shared(clock)
    async with serving(clock, broker) as node:
        client = await node.opened()
        foreign = await node.opened("s2", user="u2")
        assert [await disconnect(node, session) for session in ("s1", "s2", "unknown", "s1")] == [200] * 4
        assert broker.told == [Disconnect("u1", session) for session in ("s1", "s2", "unknown", "s1")]
        assert (await client.rest())[-1].json() == BYE
        await node.server.publish("all", "still there")
        assert await foreign.data() == "still there"
        broker.fails = True
        assert await disconnect(node, "s1") == 503

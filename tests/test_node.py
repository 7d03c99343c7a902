import asyncio
from pathlib import Path
from typing import Any

import pytest

from client_support import until
from jwt_support import pem_file
from server_support import SECRET, Clock, Served, bearer, serving
from tornado_sse import tokens
from tornado_sse.admission import UserCapPolicy
from tornado_sse.app import EventServer
from tornado_sse.config import Settings
from tornado_sse.errors import ApiError, BadRequest, Unauthorized, Unavailable
from tornado_sse.keys import KeyProblem

OTHER = "another secret, just as long as that"


def settings(**changes: Any) -> Settings:
    return Settings(**{"jwt_secret": SECRET} | changes)


async def status(node: Served, secret: str = SECRET) -> int:
    signed = tokens.sign(secret, user="u1", ttl=60, now=node.server.clocks.wall())
    response = await node.ask("/sse/connect/s9", {"Authorization": f"Bearer {signed}"}, method="HEAD", user=None)
    return response.status


@pytest.mark.gen_test
async def test_is_ready_once_started_and_until_it_drains() -> None:
    node = EventServer(settings())
    ready = [node.ready]
    await node.start()
    await node.start()
    ready.append(node.ready)
    node.draining = True
    ready.append(node.ready)
    assert ready == [False, True, False]
    await node.close()


@pytest.mark.gen_test
async def test_what_time_asks_for_is_done_slice_by_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    node = EventServer(settings())
    left = [False, True, True]
    monkeypatch.setattr(node.registry, "tick", lambda: bool(left) and left.pop())
    await node.start()
    await until(lambda: not left)
    await node.close()
    assert not left


@pytest.mark.gen_test
async def test_publishing_starts_it() -> None:
    node = EventServer(settings())
    receipt = await node.publish({"user": "u1"}, {"order": 7})
    assert (str(receipt.position), receipt.streams, receipt.duplicate) == (f"{node.broker.epoch}-1", 0, False)
    assert node.started
    await node.publish("all", "again")
    await node.close()


@pytest.mark.gen_test
async def test_publishes_every_field_of_a_message() -> None:
    async with serving() as node:
        client = await node.opened()
        publish = node.server.publish
        await publish("all", {"a": [1, "é"]}, event="order", key="k", ttl=0, idempotency_key="i")
        assert (await publish("all", "twice", idempotency_key="i")).duplicate
        event = await client.event()
        assert (event.event, event.json()) == ("order", {"a": [1, "é"]})


@pytest.mark.parametrize(
    ("to", "options", "why"),
    [
        ("nobody", {}, "`to` must be"),
        ("all", {"event": "stream-x"}, "`event` must not begin with stream-"),
        ("all", {"event": "a\nb"}, "`event` must not contain CR, LF"),
    ],
)
@pytest.mark.gen_test
async def test_a_bad_message_is_refused_and_counted(to: object, options: dict[str, Any], why: str) -> None:
    async with serving() as node:
        with pytest.raises(BadRequest, match=why):
            await node.server.publish(to, "data", **options)
        assert node.server.stats.messages_published == {"invalid": 1}


@pytest.mark.gen_test
async def test_nothing_is_taken_while_too_much_waits() -> None:
    async with serving(outbox_budget=1) as node:
        node.server.stats.outbox_bytes = 2
        with pytest.raises(Unavailable):
            await node.server.publish("all", "data")
        assert node.server.stats.messages_published["unavailable"] == 1
        node.server.stats.outbox_bytes = 0


@pytest.mark.gen_test
async def test_sessions_and_users_are_ended_from_within() -> None:
    async with serving() as node:
        first, second = await node.opened("s1"), await node.opened("s2")
        await node.server.disconnect("u1", "s1")
        assert (await first.rest())[-1].json() == {"reason": "disconnected", "reconnect": False}
        await node.server.revoke("u1")
        assert (await second.rest())[-1].json() == {"reason": "revoked", "reconnect": False}
        await node.opened("s2")


@pytest.mark.gen_test
async def test_mints_for_as_long_as_the_settings_say(clock: Clock) -> None:
    async with serving(clock, session_ttl=100) as node:
        assert node.server.mint("u1").expires_at == clock() + 100
        minted = node.server.mint("u1", 50, ["news"])
        principal = node.server.open_minted(minted.session_id)
        assert principal is not None
        assert (principal.user, principal.channels) == ("u1", ("news",))
        clock.advance(51)
        with pytest.raises(Unauthorized):
            node.server.open_minted(minted.session_id)
        assert node.server.open_minted("plain") is None


@pytest.mark.gen_test
async def test_without_a_secret_nothing_is_minted(tmp_path: Path) -> None:
    node = EventServer(Settings(jwt_key_files=[pem_file(tmp_path, "ec")]))
    assert node.open_minted("plain") is None
    with pytest.raises(ApiError, match="set session_secret"):
        node.mint("u1")
    await node.start()
    await node.close()


@pytest.mark.gen_test
async def test_a_reload_takes_new_keys_and_open_streams_stay() -> None:
    async with serving() as node:
        client = await node.opened()
        old = node.server.mint("u1").session_id
        assert (await status(node), await status(node, OTHER)) == (200, 401)
        node.server.reload(settings(jwt_secret=OTHER))
        assert (await status(node), await status(node, OTHER)) == (401, 200)
        with pytest.raises(Unauthorized):
            node.server.open_minted(old)
        await node.server.publish("all", "still there")
        assert await client.data() == "still there"


@pytest.mark.gen_test
async def test_a_remembered_token_does_not_outlive_its_key() -> None:
    async with serving() as node:
        target, headers = "/sse/send?userId=u1&message=m", bearer()
        assert (await node.ask(target, headers)).status == 200
        node.server.reload(settings(jwt_secret=OTHER))
        assert (await node.ask(target, headers, user=None)).status == 401


@pytest.mark.gen_test
async def test_a_reload_takes_new_limits() -> None:
    async with serving() as node:
        fresh = settings(
            max_streams=7,
            max_streams_per_user=2,
            max_streams_per_address=3,
            user_cap_policy="replace",
            max_message_bytes=10,
            max_batch_items=5,
            outbox_bytes=1000,
            outbox_age=3,
            slow_policy="conflate",
            outbox_budget=99,
        )
        node.server.reload(fresh)
        caps, bounds = node.server.caps, node.server.registry.bounds
        assert (caps.streams, caps.per_user, caps.per_address) == (7, 2, 3)
        assert caps.user_policy is UserCapPolicy.REPLACE
        assert (bounds.max_bytes, bounds.max_age, bounds.policy) == (1000, 3, "conflate")
        assert node.server.publisher.budget == 99
        assert (node.server.limits.message_bytes, node.server.limits.items) == (10, 5)
        with pytest.raises(BadRequest):
            await node.server.publish("all", "x" * 11)


@pytest.mark.gen_test
async def test_a_reload_that_is_refused_changes_nothing() -> None:
    async with serving() as node:
        before = node.server.settings
        with pytest.raises(KeyProblem):
            node.server.reload(Settings(max_streams=1))
        assert node.server.settings is before
        assert node.server.caps.streams == 0
        assert await status(node) == 200


def test_a_key_that_is_no_good_is_refused_at_once() -> None:
    with pytest.raises(KeyProblem, match="there is no key"):
        EventServer(Settings())


@pytest.mark.gen_test
async def test_the_clock_is_looked_at_and_its_lateness_measured(clock: Clock) -> None:
    async with serving(clock) as node:
        client = await node.opened(ttl=10)
        clock.advance(11)
        await until(lambda: node.streams == [])
        assert [block.event for block in await client.rest()] == ["stream-closing"]
        lag = node.server.stats.loop_lag
        assert sum(lag.counts) > 0
        assert 10.8 < lag.sum < 11, "the tick came 11 s after the one before it, instead of 0.1"


@pytest.mark.gen_test
async def test_keys_of_a_url_are_fetched_at_the_start_and_a_server_that_is_down_is_no_obstacle() -> None:
    async with serving(jwt_secret=None, jwks_url="http://127.0.0.1:9/keys", session_secret=SECRET) as node:
        assert node.server.ready
        response = await node.ask("/sse/connect/s1", {"Authorization": "Bearer a.b.c"}, user=None)
        assert response.status == 401
        await node.ask(f"/sse/connect/{node.server.mint('u1').session_id}", method="HEAD", user=None)


@pytest.mark.gen_test
async def test_closing_ends_every_stream_with_a_farewell() -> None:
    async with serving() as node:
        clients = [await node.opened(f"s{number}") for number in range(3)]
        await node.server.close()
        ends = await asyncio.gather(*[client.rest() for client in clients])
        assert [end[-1].json()["reason"] for end in ends] == ["draining"] * 3

import json
from pathlib import Path
from typing import Any

import jwt
import pytest

from handlers_support import Ask
from jwt_support import pem_file, private_key
from server_support import Clock, Served, serving
from slow_broker import Shared
from tornado_sse.app import EventServer
from tornado_sse.brokers.base import Refresh

SESSIONS: dict[str, Any] = {"scopes": ["sessions"]}


@pytest.mark.gen_test
async def test_mints_a_session_id_that_connects_by_itself(clock: Clock) -> None:
    async with serving(clock, session_ttl=600) as node:
        body = json.dumps({"userId": "u1", "channels": ["news.*"], "ttl": 100}).encode()
        response = await node.ask("/sse/sessions", node.bearer("backend", **SESSIONS), method="POST", body=body)
        assert response.status == 201
        answer = response.json()
        assert answer.keys() == {"sessionId", "userId", "expiresAt"}
        assert (answer["userId"], answer["expiresAt"]) == ("u1", int(clock()) + 100)
        client = await node.client()
        await client.request(f"/sse/connect/{answer['sessionId']}?channel=news.a")
        await client.streaming()
        await client.block()
        clock.advance(101)
        node.server.registry.tick()
        node.server.registry.tick()
        assert [(await client.event()).event] in (["stream-expiring"], ["stream-closing"])


@pytest.mark.gen_test
async def test_a_session_id_is_good_for_as_long_as_the_server_allows(ask: Ask, clock: Clock) -> None:
    response = await ask("/sse/sessions", method="POST", body={"userId": "u1"}, **SESSIONS)
    assert json.loads(response.body)["expiresAt"] == int(clock()) + 3600


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the JSON ends too early"),
        (b"[" * 100_000, "Expected `object`, got `array`"),
        (b'{"userId": "\xff"}', "UTF-8"),
        ({}, "Object missing required field `userId`"),
        ({"userId": "u1", "unknown": 1}, "Object contains unknown field `unknown`"),
        ({"userId": ""}, "the user or a channel has no length that is allowed"),
        ({"userId": "u1", "channels": ["a" * 1000]}, "the user or a channel has no length that is allowed"),
        ({"userId": "u1", "ttl": 0}, "Expected `float` > 0.0 - at `$.ttl`"),
        ({"userId": "u1", "ttl": 3601}, "`ttl` is 3601 seconds; at most 3600 are allowed"),
    ],
)
@pytest.mark.gen_test
async def test_a_bad_request_is_400(ask: Ask, body: object, why: str) -> None:
    response = await ask("/sse/sessions", method="POST", body=body, **SESSIONS)
    assert response.code == 400
    answer = json.loads(response.body)
    assert answer["status"] == "BAD_REQUEST"
    assert why in answer["message"]


@pytest.mark.gen_test
async def test_another_media_type_is_415(ask: Ask) -> None:
    body, headers = b"userId=u1", {"Content-Type": "application/x-www-form-urlencoded"}
    response = await ask("/sse/sessions", method="POST", body=body, headers=headers, **SESSIONS)
    assert response.code == 415
    assert json.loads(response.body)["status"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.gen_test
async def test_minting_wants_a_scope_of_its_own(ask: Ask, server: EventServer) -> None:
    assert (await ask("/sse/sessions", method="POST", body={"userId": "u1"}, user=None)).code == 401
    response = await ask("/sse/sessions", method="POST", body={"userId": "u1"}, scopes=["publish", "subscribe"])
    assert response.code == 403
    assert 'scope="sessions"' in response.headers["WWW-Authenticate"]
    assert server.stats.auth_failures == {"missing": 1, "scope": 1}


@pytest.mark.gen_test
async def test_without_a_secret_nothing_can_be_minted(tmp_path: Path, clock: Clock) -> None:
    async with serving(clock, jwt_secret=None, jwt_key_files=[pem_file(tmp_path, "ec")]) as node:
        claims = {"sub": "backend", "exp": clock() + 60, "scope": "sessions"}
        headers = {"Authorization": f"Bearer {jwt.encode(claims, private_key('ec'), algorithm='ES256')}"}
        response = await node.ask("/sse/sessions", headers, method="POST", body=b'{"userId": "u1"}')
        assert response.status == 501
        assert response.json() == {
            "message": "set session_secret (or jwt_secret) to mint session ids",
            "status": "NOT_IMPLEMENTED",
        }


async def refresh(node: Served, session_id: str, user: str = "u1", **claims: Any) -> tuple[int, Any]:
    response = await node.ask(f"/sse/sessions/{session_id}/refresh", node.bearer(user, **claims), method="POST")
    return response.status, response.json()


@pytest.mark.gen_test
async def test_a_refresh_lengthens_the_open_stream(clock: Clock) -> None:
    async with serving(clock) as node:
        client = await node.opened(ttl=60)
        clock.advance(31)
        node.server.registry.tick()
        assert (await client.event()).event == "stream-expiring"
        assert await refresh(node, "s1", ttl=600) == (200, {"expiresAt": int(clock()) + 600})
        assert await refresh(node, "s1", ttl=10) == (200, {"expiresAt": int(clock()) + 600}), "never to earlier"
        clock.advance(500)
        node.server.registry.tick()
        await node.server.publish("all", "still there")
        assert await client.data() == "still there"
        clock.advance(71)
        node.server.registry.tick()
        assert (await client.event()).event == "stream-expiring"


@pytest.mark.gen_test
async def test_a_refresh_wants_an_open_stream_of_ones_own(clock: Clock) -> None:
    async with serving(clock) as node:
        await node.opened()
        minted = node.server.mint("u1", 60).session_id
        assert await refresh(node, "s2") == (404, {"message": "the session has no open stream", "status": "NOT_FOUND"})
        assert (await refresh(node, "s1", "u2"))[0] == 404
        assert (await refresh(node, "s1", session="s2"))[0] == 401
        assert (await refresh(node, "a%20b"))[0] == 401
        assert (await refresh(node, minted))[0] == 404
        assert (await refresh(node, minted, "u2"))[0] == 401
        assert (await refresh(node, "s1", scopes=["publish"]))[0] == 403
        response = await node.ask("/sse/sessions/s1/refresh", method="POST", user=None)
        assert response.status == 401


@pytest.mark.gen_test
async def test_a_minted_session_is_lengthened_by_a_token_of_its_user(clock: Clock) -> None:
    async with serving(clock) as node:
        minted = node.server.mint("u1", 60).session_id
        client = await node.client()
        await client.request(f"/sse/connect/{minted}")
        await client.streaming()
        assert await refresh(node, minted, ttl=600) == (200, {"expiresAt": int(clock()) + 600})


@pytest.mark.gen_test
async def test_a_minted_session_is_lengthened_after_its_id_has_expired(clock: Clock) -> None:
    async with serving(clock) as node:
        minted = node.server.mint("u1", 60).session_id
        client = await node.client()
        await client.request(f"/sse/connect/{minted}")
        await client.streaming()
        for _ in range(3):
            clock.advance(50)
            assert await refresh(node, minted, ttl=60) == (200, {"expiresAt": int(clock()) + 60})
        assert (await refresh(node, minted, "u2"))[0] == 401
        assert len(node.streams) == 1


@pytest.mark.gen_test
async def test_a_token_lengthens_no_stream_whose_channels_it_does_not_allow(clock: Clock) -> None:
    async with serving(clock) as node:
        minted = node.server.mint("u1", 60, ["news"]).session_id
        client = await node.client()
        await client.request(f"/sse/connect/{minted}?channel=news")
        await client.streaming()
        target = f"/sse/sessions/{minted}/refresh"
        response = await node.ask(target, node.bearer(ttl=600, channels=[]), method="POST")
        assert response.status == 403
        message = "the token does not allow the channels of the stream"
        assert response.json() == {"message": message, "status": "FORBIDDEN"}
        assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
        assert [stream.expires_at for stream in node.streams] == [clock() + 60]
        assert await refresh(node, minted, ttl=600, channels=["news"]) == (200, {"expiresAt": int(clock()) + 600})


@pytest.mark.gen_test
async def test_where_there_may_be_other_nodes_all_are_told_of_a_refresh(clock: Clock) -> None:
    broker = Shared(clock)
    async with serving(clock, broker) as node:
        await node.opened(query="?channel=news", ttl=60)
        then = int(clock()) + 600
        assert await refresh(node, "s1", ttl=600) == (200, {"expiresAt": then})
        assert await refresh(node, "s1", ttl=60) == (200, {"expiresAt": then}), "of the streams here it is known"
        assert await refresh(node, "s1", ttl=900, channels=["sports"]) == (202, {"expiresAt": then + 300})
        assert await refresh(node, "s2", ttl=600) == (202, {"expiresAt": then})
        assert await refresh(node, "s1", "u2", ttl=600) == (202, {"expiresAt": then})
        assert broker.told == [
            Refresh("u1", "s1", ("*",), then),
            Refresh("u1", "s1", ("*",), clock() + 60),
            Refresh("u1", "s1", ("sports",), then + 300),
            Refresh("u1", "s2", ("*",), then),
            Refresh("u2", "s1", ("*",), then),
        ]
        assert [stream.expires_at for stream in node.streams] == [then]


@pytest.mark.gen_test
async def test_a_refresh_that_the_others_cannot_be_told_of_still_counts_here(clock: Clock) -> None:
    broker = Shared(clock)
    async with serving(clock, broker) as node:
        await node.opened(ttl=60)
        broker.fails = True
        assert (await refresh(node, "s1", ttl=600))[0] == 503
        assert [stream.expires_at for stream in node.streams] == [clock() + 600]

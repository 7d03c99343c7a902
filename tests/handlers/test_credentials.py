"""Where a credential may come from, and which session it is good for."""

import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from jwt_support import pem_file, private_key
from server_support import Clock, Served, bearer, serving, token

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


async def status(node: Served, target: str, headers: dict[str, str] | None = None) -> int:
    """How a connect is answered; HEAD, so that nothing is opened."""
    return (await node.ask(target, headers, method="HEAD", user=None)).status


async def failure(node: Served, target: str, headers: dict[str, str] | None = None) -> str:
    """Why a connect is turned away."""
    node.server.stats.auth_failures.clear()
    response = await node.ask(target, headers, user=None)
    assert response.status in (401, 403)
    (reason,) = node.server.stats.auth_failures
    return reason


@pytest.mark.gen_test
async def test_a_bearer_token_is_good_for_any_session_of_its_user() -> None:
    async with serving() as node:
        for session in ("a", "Z-9._~", "x" * 128):
            assert await status(node, f"/sse/connect/{session}", node.bearer()) == 200


@pytest.mark.parametrize("session", ["x" * 129, "a%20b", "a%2Fb", "%C3%A9", "a:b", "%00"])
@pytest.mark.gen_test
async def test_a_malformed_session_id_is_401(session: str) -> None:
    async with serving() as node:
        assert await failure(node, f"/sse/connect/{session}", node.bearer()) == "session"


@pytest.mark.gen_test
async def test_a_session_id_that_is_no_utf8_is_400() -> None:
    async with serving() as node:
        response = await node.ask("/sse/connect/%ff")
        assert response.status == 400
        assert response.json()["status"] == "BAD_REQUEST"


@pytest.mark.gen_test
async def test_a_token_bound_to_a_session_is_good_for_no_other() -> None:
    async with serving() as node:
        headers = node.bearer(session="mine")
        assert await status(node, "/sse/connect/mine", headers) == 200
        assert await failure(node, "/sse/connect/other", headers) == "session"


@pytest.mark.gen_test
async def test_the_token_must_allow_to_subscribe() -> None:
    async with serving() as node:
        response = await node.ask("/sse/connect/s1", node.bearer(scopes=["publish"]))
        assert response.status == 403
        assert 'scope="subscribe"' in response.headers["www-authenticate"]


@pytest.mark.gen_test
async def test_two_users_with_the_same_session_id_never_meet() -> None:
    async with serving() as node:
        mine, theirs = await node.opened("same"), await node.opened("same", user="u2")
        await node.server.publish({"user": "u1", "session": "same"}, "for u1")
        await node.server.publish({"user": "u2", "session": "same"}, "for u2")
        assert (await mine.data(), await theirs.data()) == ("for u1", "for u2")


@pytest.mark.gen_test
async def test_a_minted_session_id_is_credential_enough(clock: Clock) -> None:
    async with serving(clock) as node:
        minted = node.server.mint("u1", 60, ["news"]).session_id
        client = await node.client()
        await client.request(f"/sse/connect/{minted}?channel=news")
        await client.streaming()
        await client.block()
        await node.server.publish({"user": "u1", "session": minted}, "hello")
        assert await client.data() == "hello"
        assert (await node.ask(f"/sse/connect/{minted}?channel=other", user=None)).status == 403
        clock.advance(61)
        assert await failure(node, f"/sse/connect/{minted}") == "expired"


@pytest.mark.gen_test
async def test_beside_a_token_it_does_not_matter_whether_a_minted_session_id_has_expired(clock: Clock) -> None:
    async with serving(clock) as node:
        minted = node.server.mint("u1", 60).session_id
        clock.advance(61)
        assert await status(node, f"/sse/connect/{minted}", node.bearer()) == 200
        assert await failure(node, f"/sse/connect/{minted}", node.bearer("u2")) == "session"
        assert await failure(node, f"/sse/connect/{minted}x", node.bearer()) == "session"
        assert await failure(node, f"/sse/connect/{minted}", bearer(now=clock() - 7200)) == "expired"


@pytest.mark.gen_test
async def test_a_minted_session_id_that_was_changed_is_401() -> None:
    async with serving() as node:
        minted = node.server.mint("u1").session_id
        head, claims, signature = minted.split(".")
        for forged in (f"{head}.{claims}.", f"{head}.{claims[:-2]}.{signature}", f"{head}.{claims}.{signature}x"):
            assert await failure(node, f"/sse/connect/{forged}") == "session"
            assert await failure(node, f"/sse/connect/{forged}", node.bearer()) == "session"


@pytest.mark.gen_test
async def test_a_token_beside_a_minted_session_id_must_be_of_the_same_user() -> None:
    async with serving() as node:
        minted = node.server.mint("u1").session_id
        assert await status(node, f"/sse/connect/{minted}", node.bearer()) == 200
        assert await failure(node, f"/sse/connect/{minted}", node.bearer("u2")) == "session"


@pytest.mark.gen_test
async def test_minted_session_ids_are_none_where_nothing_signs_them() -> None:
    async with serving() as node:
        minted = node.server.mint("u1").session_id
    async with serving(session_secret="quite another secret for the sessions alone") as node:
        assert await failure(node, f"/sse/connect/{minted}") == "session"


def cookie(value: str, **headers: str) -> dict[str, str]:
    return {"Cookie": f"__Host-sse={value}"} | {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"Origin": "https://app.example"}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, False),
    ],
)
@pytest.mark.gen_test
async def test_a_cookie_counts_only_if_the_browser_vouches_for_the_page(headers: dict[str, str], good: bool) -> None:
    async with serving(allowed_origins=["https://app.example"]) as node:
        sent = cookie(token(), **headers)
        if good:
            assert await status(node, "/sse/connect/s1", sent) == 200
        else:
            assert await failure(node, "/sse/connect/s1", sent) == "origin"


@pytest.mark.gen_test
async def test_a_cookie_does_not_stand_in_for_a_bad_bearer_token() -> None:
    async with serving() as node:
        headers = cookie(token()) | SAME_ORIGIN | {"Authorization": "Bearer nonsense"}
        assert await failure(node, "/sse/connect/s1", headers) == "malformed"


@pytest.mark.parametrize("settings", [{"session_cookie": ""}, {"session_cookie": "other"}])
@pytest.mark.gen_test
async def test_a_cookie_of_another_name_is_no_credential(settings: dict[str, Any]) -> None:
    async with serving(**settings) as node:
        assert await failure(node, "/sse/connect/s1", cookie(token()) | SAME_ORIGIN) == "missing"


@pytest.mark.gen_test
async def test_a_token_in_the_query_counts_only_if_switched_on() -> None:
    for query_token in (False, True):
        async with serving(query_token=query_token) as node:
            target = f"/sse/connect/s1?access_token={token()}"
            if query_token:
                assert await status(node, target) == 200
            else:
                assert await failure(node, target) == "missing"


@pytest.mark.gen_test
async def test_a_token_in_the_query_is_taken_as_it_is() -> None:
    async with serving(query_token=True) as node:
        for around in ("%20{}", "{}%20", "{}%0A", "{}%00", "x&access_token={}&access_token="):
            target = "/sse/connect/s1?access_token=" + around.format(token())
            assert await failure(node, target) == "malformed"


@pytest.mark.gen_test
async def test_a_minted_session_id_makes_cookie_and_query_count_for_nothing() -> None:
    async with serving(query_token=True) as node:
        minted = node.server.mint("u1").session_id
        target = f"/sse/connect/{minted}?access_token={token('u2')}"
        assert await status(node, target, cookie(token("u2")) | SAME_ORIGIN) == 200


@pytest.mark.gen_test
async def test_without_any_secret_there_are_no_minted_session_ids(tmp_path: Path) -> None:
    async with serving() as node:
        minted = node.server.mint("u1").session_id
    async with serving(jwt_secret=None, jwt_key_files=[pem_file(tmp_path, "ec")]) as node:
        signed = jwt.encode({"sub": "u1", "exp": time.time() + 60}, private_key("ec"), algorithm="ES256")
        headers = {"Authorization": f"Bearer {signed}"}
        assert await status(node, "/sse/connect/s1", headers) == 200
        assert await failure(node, f"/sse/connect/{minted}") == "missing"
        assert await failure(node, f"/sse/connect/{minted}", headers) == "session"

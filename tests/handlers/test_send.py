from urllib.parse import urlencode

import pytest

from server_support import serving, token


@pytest.mark.gen_test
async def test_sends_an_unnamed_event_to_every_stream_of_the_user() -> None:
    async with serving() as node:
        tabs = [await node.opened("s1"), await node.opened("s2")]
        other = await node.opened(user="u2")
        query = urlencode({"userId": "u1", "message": " two\nlines & ünïcode\x01 "})
        response = await node.ask(f"/sse/send?{query}", user="backend")
        epoch = node.server.broker.epoch
        assert response.status == 200
        assert response.json() == {"message": f"Message {epoch}-1 sent to 2 open streams"}
        for tab in tabs:
            event = await tab.event()
            assert (event.event, event.data) == (None, " two\nlines & ünïcode\x01 ")
        await node.server.publish("all", "next")
        assert await other.data() == "next"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("message=m", "the query must have userId once"),
        ("userId=u", "the query must have message once"),
        ("userId=u&userId=v&message=m", "the query must have userId once"),
        ("userId=&message=m", "`to.user` must not be empty"),
        ("userId=u&message=" + "x" * 20, "`data` takes 20 bytes; at most 10 are allowed"),
    ],
)
@pytest.mark.gen_test
async def test_a_bad_query_is_400(query: str, message: str) -> None:
    async with serving(max_message_bytes=10) as node:
        response = await node.ask(f"/sse/send?{query}")
        assert response.status == 400
        assert response.json() == {"message": message, "status": "BAD_REQUEST"}


@pytest.mark.gen_test
async def test_wants_the_scope_in_the_authorization_header() -> None:
    async with serving(query_token=True) as node:
        target = "/sse/send?userId=u1&message=m"
        cookie = {"Cookie": f"__Host-sse={token()}", "Sec-Fetch-Site": "same-origin"}
        minted = node.server.mint("u1").session_id
        for headers in ({}, cookie, {"Authorization": "Basic abc"}):
            response = await node.ask(f"{target}&access_token={token()}", headers, user=None)
            assert response.status == 401
            assert response.headers["www-authenticate"] == 'Bearer realm="tornado_sse"'
        assert (await node.ask(target, {"Authorization": f"Bearer {minted}"}, user=None)).status == 401
        response = await node.ask(target, node.bearer(scopes=["subscribe"]))
        assert response.status == 403
        assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
        assert 'scope="publish"' in response.headers["www-authenticate"]
        assert node.server.stats.messages_published == {}

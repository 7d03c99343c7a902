import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from client_support import until
from handlers_support import Ask
from server_support import Clock, serving, token
from tornado_sse.app import EventServer
from tornado_sse.brokers.base import Published
from tornado_sse.errors import Unavailable
from tornado_sse.handlers.publish import PART
from tornado_sse.message import Draft

NDJSON = {"Content-Type": "application/x-ndjson"}


def message(text: str = "hello", **more: object) -> dict[str, Any]:
    return {"to": "all", "data": text} | more


async def publish(ask: Ask, body: object, headers: dict[str, str] | None = None, **options: Any) -> HTTPResponse:
    return await ask("/sse/publish", method="POST", body=body, headers=headers, **options)


def receipts(response: HTTPResponse) -> list[dict[str, Any]]:
    assert response.code == 200, response.body
    (rows,) = json.loads(response.body).values()
    return list(rows)


def error(response: HTTPResponse) -> str:
    body = json.loads(response.body)
    assert body.keys() == {"message", "status"}
    return str(body["message"])


@pytest.mark.gen_test
async def test_a_message_arrives_as_it_was_sent() -> None:
    async with serving() as node:
        client = await node.opened()
        body = json.dumps({"to": {"user": "u1"}, "event": "order", "data": {"total": 1.50, "who": "é"}}).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        response = await node.ask("/sse/publish", headers, method="POST", body=body)
        epoch = node.server.broker.epoch
        assert response.json() == {
            "receipts": [{"index": 0, "position": f"{epoch}-1", "streams": 1, "duplicate": False}]
        }
        event = await client.event()
        assert event.fields == {"id": f"{epoch}-1", "event": "order", "data": '{"total": 1.5, "who": "\\u00e9"}'}


@pytest.mark.gen_test
async def test_an_array_has_a_receipt_for_each(ask: Ask, server: EventServer) -> None:
    rows = receipts(await publish(ask, [message("a"), message("b", to={"user": "nobody"})]))
    epoch = server.broker.epoch
    assert [row["position"] for row in rows] == [f"{epoch}-1", f"{epoch}-2"]
    assert [row["index"] for row in rows] == [0, 1]


@pytest.mark.parametrize(
    "media_type", ["application/x-ndjson", "Application/NDJSON; charset=utf-8", "application/jsonl"]
)
@pytest.mark.gen_test
async def test_a_bad_line_is_named_and_the_good_ones_go(ask: Ask, server: EventServer, media_type: str) -> None:
    lines = [json.dumps(message("a")), "{", "", json.dumps(message(event="stream-closing")), json.dumps(message("b"))]
    rows = receipts(await publish(ask, "\r\n".join(lines).encode(), {"Content-Type": media_type}))
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    assert [row.get("position") for row in rows] == [f"{server.broker.epoch}-1", None, None, f"{server.broker.epoch}-2"]
    assert "too early" in rows[1]["error"]
    assert rows[2]["error"] == "`event` must not begin with stream-, which is reserved for the server"
    assert +server.stats.messages_published == {"accepted": 2, "invalid": 2}


@pytest.mark.gen_test
async def test_a_repeated_idempotency_key_is_a_duplicate_for_a_while(clock: Clock) -> None:
    async with serving(clock, idempotency_window=120) as node:
        client = await node.opened()

        async def send() -> dict[str, Any]:
            body = json.dumps(message(idempotencyKey="k")).encode()
            return dict((await node.ask("/sse/publish", method="POST", body=body)).json()["receipts"][0])

        first, again = await send(), await send()
        assert again == first | {"duplicate": True, "streams": 0}
        clock.advance(121)
        assert (await send())["duplicate"] is False
        await node.server.publish("all", "next")
        assert [await client.data() for _ in range(3)] == ["hello", "hello", "next"]
        assert +node.server.stats.messages_published == {"accepted": 3, "duplicate": 1}


@pytest.mark.gen_test
async def test_a_message_is_not_replayed_after_its_ttl(clock: Clock) -> None:
    async with serving(clock) as node:
        position = (await node.server.publish("all", "start")).position
        for text, ttl in (("gone", 5), ("never kept", 0), ("kept", 60)):
            body = json.dumps(message(text, ttl=ttl)).encode()
            await node.ask("/sse/publish", method="POST", body=body)
        clock.advance(6)
        client = await node.connect(headers={"Last-Event-ID": str(position)})
        assert (await client.event()).data == "kept"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the JSON ends too early"),
        (b"[]", "there is no message in the body"),
        (b"{", "the JSON ends too early"),
        (b"?", "JSON is malformed: invalid character (byte 0)"),
        (b'{"to": "all", "data": "\xff"}', "the JSON is not valid UTF-8"),
        (b"[" * 100_000, "the JSON is nested too deeply"),
        (message(data="x", unknown=1), "Object contains unknown field `unknown`"),
        (message(data="x", ttl=-1), "Expected `float` >= 0.0 - at `$.ttl`"),
        (message(to={"user": 1}), "`to.user` must be a string"),
        (message(to=[]), "`to` must name 1 to 100 targets"),
        (message("x" * 101), "`data` takes 101 bytes; at most 100 are allowed"),
        ([message()] * 4, "too many messages in one request; at most 3 are allowed"),
    ],
)
@pytest.mark.parametrize("settings", [{"max_message_bytes": 100, "max_batch_items": 3}])
@pytest.mark.gen_test
async def test_a_bad_body_is_400(ask: Ask, server: EventServer, body: object, why: str) -> None:
    response = await publish(ask, body)
    assert response.code == 400
    assert error(response).startswith(why)
    assert server.stats.messages_published["accepted"] == 0


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded"])
@pytest.mark.gen_test
async def test_another_media_type_is_415(ask: Ask, media_type: str) -> None:
    response = await publish(ask, message(), {"Content-Type": media_type})
    assert response.code == 415
    assert error(response).startswith("Content-Type must be one of application/json, application/x-ndjson")


@pytest.mark.gen_test
async def test_wants_the_scope_in_the_authorization_header(ask: Ask, server: EventServer, clock: Clock) -> None:
    signed = token(now=clock())
    for headers in ({}, {"Cookie": f"__Host-sse={signed}", "Sec-Fetch-Site": "same-origin"}):
        response = await publish(ask, message(), headers, user=None)
        assert response.code == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="tornado_sse"'
    response = await publish(ask, message(), ttl=-100)
    assert response.code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    response = await publish(ask, message(), scopes=["subscribe", "sessions"])
    assert response.code == 403
    assert 'scope="publish"' in response.headers["WWW-Authenticate"]
    assert server.stats.auth_failures == {"missing": 2, "expired": 1, "scope": 1}
    assert server.stats.messages_published == {}


@pytest.mark.gen_test
async def test_holds_back_while_too_much_waits_for_slow_streams() -> None:
    async with serving(outbox_budget=100_000) as node:
        healthy = await node.opened("s2")
        slow = await node.opened(receive_buffer=4096)
        body = json.dumps(message("x" * 60_000)).encode()
        sent = 0
        while (response := await node.ask("/sse/publish", method="POST", body=body)).status == 200:
            sent += 1
            await healthy.data()
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        assert response.json()["message"] == "too much waits for slow streams; try again"
        counts = node.server.stats.messages_published
        assert (counts["accepted"], counts["unavailable"]) == (sent, 1)
        for _ in range(sent):
            await slow.data()
        await until(lambda: node.server.stats.outbox_bytes == 0)
        assert (await node.ask("/sse/publish", method="POST", body=body)).status == 200
        assert len(await healthy.data()) == 60_000


@pytest.mark.gen_test
async def test_requests_at_once_keep_the_order_of_each(ask: Ask, server: EventServer) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(publish(ask, [message()] * 10)) for _ in range(5)]
    for task in tasks:
        numbers = [int(row["position"].partition("-")[2]) for row in receipts(task.result())]
        assert numbers == list(range(numbers[0], numbers[0] + 10))
    assert server.stats.messages_published["accepted"] == 50


@pytest.mark.gen_test
async def test_a_broker_that_fails_in_the_middle_of_a_batch_leaves_no_item_in_doubt(
    ask: Ask, server: EventServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = server.broker.publish

    async def fail_behind_the_first_part(drafts: Sequence[Draft]) -> list[Published]:
        if server.stats.messages_published["accepted"]:
            raise Unavailable("the broker is down")
        return await through(drafts)

    monkeypatch.setattr(server.broker, "publish", fail_behind_the_first_part)
    rows = receipts(await publish(ask, [message() for _ in range(PART + 2)]))
    assert [row["index"] for row in rows] == list(range(PART + 2))
    assert all("position" in row for row in rows[:PART])
    assert [row["error"] for row in rows[PART:]] == ["the broker is down"] * 2
    assert +server.stats.messages_published == {"accepted": PART, "unavailable": 2}

"""Opening streams: everything from the first byte on the wire to who is turned away, and how."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tornado.httpclient import AsyncHTTPClient

from client_support import until
from server_support import Clock, bearer, serving
from slow_broker import Hesitant, SlowReplay
from tornado_sse.errors import Unavailable
from tornado_sse.topic import Topic

EVENT_STREAM = {"Accept": "text/event-stream"}


# What a stream begins with


@pytest.mark.gen_test
async def test_begins_with_its_headers_a_retry_and_a_position() -> None:
    async with serving() as node:
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer())
        response = await client.streaming()
        assert response.version == "HTTP/1.1"
        del response.headers["date"]
        assert response.headers == {
            "content-type": "text/event-stream",
            "cache-control": "no-store",
            "x-accel-buffering": "no",
            "x-content-type-options": "nosniff",
            "connection": "close",
            "transfer-encoding": "chunked",
        }
        begin = await client.next_block()
        assert begin.fields.keys() == {"retry", "id"}, "it sets the browser's last event id, and dispatches nothing"
        assert begin.id == f"{node.server.broker.epoch}-0"
        await node.server.publish({"user": "u1"}, "hello")
        event = await client.event()
        assert event.fields == {"id": f"{node.server.broker.epoch}-1", "data": "hello"}


@pytest.mark.gen_test
async def test_times_to_reconnect_differ_from_stream_to_stream() -> None:
    async with serving(retry=4, max_streams_per_user=0) as node:
        retries = [(await (await node.connect()).next_block()).retry or 0 for _ in range(40)]
    assert all(2000 <= retry <= 6000 for retry in retries)
    assert len(set(retries)) > 20
    assert max(retries) - min(retries) > 1000


@pytest.mark.gen_test
async def test_an_http_1_0_client_gets_no_chunks() -> None:
    async with serving() as node:
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer(), version="1.0")
        response = await client.streaming()
        assert "transfer-encoding" not in response.headers
        assert (await client.next_block()).id is not None
        await node.server.publish("all", "hello")
        assert await client.data() == "hello"
        await node.server.disconnect("u1", "s1")
        assert [block.event for block in await client.rest()] == ["stream-closing"]


@pytest.mark.gen_test
async def test_compressed_streams_are_decoded_event_by_event() -> None:
    async with serving(compression=True) as node:
        clients = [await node.connect(headers={"Accept-Encoding": "br, gzip;q=0.5"}) for _ in range(2)]
        for client in clients:
            assert (await client.next_block()).id is not None
        for text in ("one", "two", "three"):
            await node.server.publish("all", text)
            assert [await client.data() for client in clients] == [text, text]
        late = await node.connect(headers={"Accept-Encoding": "gzip"}, query="?lastEventId=x")
        assert (await late.event()).event == "stream-gap"
        await node.server.publish("all", "four")
        assert [await client.data() for client in (*clients, late)] == ["four"] * 3
        await node.server.disconnect("u1", "s1")
        assert [block.event for block in await late.rest()] == ["stream-closing"]


@pytest.mark.parametrize(
    ("compression", "accepted", "encoding"),
    [
        (True, "gzip", "gzip"),
        (True, "deflate, GZIP ; q=0.1", "gzip"),
        (True, "gzip;q=0", None),
        (True, "gzip; q=0.000, br", None),
        (True, "br", None),
        (True, "", None),
        (False, "gzip", None),
    ],
)
@pytest.mark.gen_test
async def test_compresses_only_if_switched_on_and_wanted(
    compression: bool, accepted: str, encoding: str | None
) -> None:
    async with serving(compression=compression) as node:
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer() | {"Accept-Encoding": accepted})
        response = await client.streaming()
        assert response.headers.get("content-encoding") == encoding
        assert response.headers.get("vary") == ("Accept-Encoding" if compression else None)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.gen_test
async def test_head_answers_like_get_and_opens_nothing(version: str) -> None:
    async with serving() as node:
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer() | {"Connection": "close"}, method="HEAD", version=version)
        head, _, body = (await client.read_all()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Type: text/event-stream\r\n" in head
        assert b"Content-Length" not in head
        assert body == b""
        assert node.server.stats.streams_opened == 0
        assert (await node.ask("/sse/connect/s1", method="HEAD", user=None)).status == 401


@pytest.mark.gen_test
async def test_head_and_get_vary_alike() -> None:
    async with serving(compression=True, allowed_origins=["https://app.example"]) as node:
        for method in ("GET", "HEAD"):
            client = await node.client()
            await client.request("/sse/connect/s1", node.bearer(), method=method)
            response = await client.response(to_head=True)
            assert response.headers["vary"] in ("Accept-Encoding, Origin", "Accept-Encoding,Origin")


@pytest.mark.gen_test
async def test_allowed_origins_may_read_the_stream() -> None:
    async with serving(allowed_origins=["https://app.example"]) as node:
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer() | {"Origin": "https://app.example"})
        response = await client.streaming()
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["vary"] == "Origin"


# Who listens to what


@pytest.mark.gen_test
async def test_a_stream_gets_what_goes_to_its_user_its_session_its_channels_and_all() -> None:
    async with serving() as node:
        client = await node.opened(query="?channel=news&channel=a%20b&channel=news", channels=["news", "a *"])
        await node.server.publish({"user": "u2"}, "not mine")
        await node.server.publish({"user": "u1", "session": "other"}, "not mine")
        await node.server.publish({"channel": "other"}, "not mine")
        for target in ({"user": "u1"}, {"user": "u1", "session": "s1"}, {"channel": "news"}, {"channel": "a b"}, "all"):
            await node.server.publish(target, {"to": target})
            assert (await client.event()).json() == {"to": target}
        await node.server.publish(["all", {"user": "u1"}, {"channel": "news"}], "once")
        await node.server.publish("all", "next")
        assert [await client.data(), await client.data()] == ["once", "next"]


@pytest.mark.gen_test
async def test_a_channel_that_the_token_does_not_allow_is_403() -> None:
    async with serving() as node:
        headers = node.bearer(channels=["news.*"])
        response = await node.ask("/sse/connect/s1?channel=news.a&channel=secret", headers)
        assert response.status == 403
        assert response.json() == {"message": "the token does not allow this channel", "status": "FORBIDDEN"}
        assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
        assert node.server.stats.connects_rejected == {"auth": 1}
        await node.opened(query="?channel=news.a", channels=["news.*"])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("&".join(f"channel=c{n}" for n in range(4)), "4 channels; at most 3 are allowed on one stream"),
        ("channel=", "channel must not be empty"),
        ("channel=a*", "channel must not contain *: patterns belong into the token"),
        ("channel=%0A", "channel must not contain control characters"),
        ("channel=" + "x" * 257, "channel must be at most 256 characters long"),
    ],
)
@pytest.mark.gen_test
async def test_bad_channels_are_400(query: str, message: str) -> None:
    async with serving(max_channels=3) as node:
        response = await node.ask(f"/sse/connect/s1?{query}")
        assert response.status == 400
        assert response.json() == {"message": message, "status": "BAD_REQUEST"}
        assert node.server.stats.connects_rejected == {"invalid": 1}


@pytest.mark.parametrize("query", ["channel=%ff", "&".join(f"x{n}=" for n in range(5000))])
@pytest.mark.gen_test
async def test_nonsense_in_the_query_is_400_in_the_error_shape(query: str) -> None:
    async with serving() as node:
        stream = await node.opened()
        response = await node.ask(f"/sse/connect/s1?{query}")
        assert response.status == 400
        assert response.headers["content-type"] == "application/json"
        assert response.json()["status"] == "BAD_REQUEST"
        await node.server.publish("all", "undisturbed")
        assert await stream.data() == "undisturbed"


# Who is turned away


@pytest.mark.gen_test
async def test_without_a_good_credential_it_is_401() -> None:
    async with serving() as node:
        for headers, error in (
            ({}, None),
            ({"Authorization": "Bearer nonsense"}, "invalid_token"),
            (bearer(now=1.0), "invalid_token"),
            (node.bearer(session="another"), "invalid_token"),
        ):
            response = await node.ask("/sse/connect/s1", headers, user=None)
            assert response.status == 401
            assert response.json().keys() == {"message", "status"}
            assert response.json()["status"] == "UNAUTHORIZED"
            challenge = response.headers["www-authenticate"]
            assert challenge.startswith('Bearer realm="tornado_sse"')
            assert (f'error="{error}"' in challenge) is (error is not None)
        assert node.server.stats.connects_rejected == {"auth": 4}
        assert sum(node.server.stats.auth_failures.values()) == 4


@pytest.mark.gen_test
async def test_a_disconnected_session_is_answered_204_for_a_while(clock: Clock) -> None:
    async with serving(clock, disconnect_hold=60) as node:
        client = await node.opened()
        assert (await node.ask("/sse/disconnect/s1", method="DELETE")).status == 200
        assert (await client.rest())[-1].json() == {"reason": "disconnected", "reconnect": False}
        for method in ("GET", "HEAD"):
            response = await node.ask("/sse/connect/s1", EVENT_STREAM, method=method)
            assert (response.status, response.body) == (204, b"")
            assert "content-type" not in response.headers
        assert node.server.stats.connects_rejected["disconnected"] == 2
        await node.opened("s1", user="u2")
        clock.advance(61)
        await node.opened()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_streams_per_user": 2}, "this user has as many streams as allowed"),
        ({"max_streams_per_address": 2}, "this address has as many streams as allowed"),
    ],
)
@pytest.mark.gen_test
async def test_a_cap_answers_429(settings: dict[str, Any], message: str) -> None:
    async with serving(**settings) as node:
        first_stream = await node.opened()
        await node.opened("s2")
        response = await node.ask("/sse/connect/s3", EVENT_STREAM)
        assert response.status == 429
        assert response.json() == {"message": message, "status": "TOO_MANY_REQUESTS"}
        first_stream.close()
        await until(lambda: len(node.streams) == 1)
        await node.opened("s3")
        assert sum(node.server.stats.connects_rejected.values()) == 1


@pytest.mark.gen_test
async def test_a_cap_of_users_is_of_each_user_alone() -> None:
    async with serving(max_streams_per_user=1) as node:
        await node.opened()
        await node.opened(user="u2")
        assert (await node.ask("/sse/connect/s1")).status == 429


@pytest.mark.gen_test
async def test_the_oldest_stream_of_the_user_may_be_replaced() -> None:
    async with serving(max_streams_per_user=2, user_cap_policy="replace") as node:
        oldest = await node.opened("s1")
        middle = await node.opened("s2")
        newest = await node.opened("s3")
        assert (await oldest.rest())[-1].json() == {"reason": "replaced", "reconnect": False}
        await node.server.publish("all", "hello")
        assert [await client.data() for client in (middle, newest)] == ["hello"] * 2
        assert node.server.stats.streams_closed == {"replaced": 1}


@pytest.mark.parametrize("reason", ["limit", "draining"])
@pytest.mark.gen_test
async def test_event_streams_are_shed_softly_and_others_hard(reason: str) -> None:
    async with serving(max_streams=1) as node:
        await node.opened()
        node.server.draining = reason == "draining"
        shed = await node.connect("s2", headers={"Accept": "text/event-stream, */*;q=0.1"})
        (farewell,) = await shed.rest()
        assert farewell.event == "stream-closing"
        assert farewell.json() == {"reason": reason, "reconnect": True}
        assert 1000 <= (farewell.retry or 0) <= 3000
        known = f"{node.server.broker.epoch}-0"
        again = await node.connect("s2", headers={"Accept": "text/event-stream", "Last-Event-ID": known})
        assert (await again.rest())[0].id == known, "who comes with a position leaves with it"
        response = await node.ask("/sse/connect/s2")
        assert response.status == 503
        assert response.json() == {"message": f"no new streams now: {reason}", "status": "SERVICE_UNAVAILABLE"}
        assert response.headers["retry-after"] == "5"
        assert node.server.stats.connects_rejected == {reason: 3}
        assert len(node.streams) == 1


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"max_streams": 1}, 503),
        ({"max_streams_per_address": 1}, 429),
        ({"max_streams_per_user": 1}, 429),
    ],
)
@pytest.mark.gen_test
async def test_two_who_come_at_once_do_not_share_the_last_place(
    clock: Clock, settings: dict[str, Any], status: int
) -> None:
    broker = Hesitant(clock)
    async with serving(clock, broker, **settings) as node:
        clients = [await node.client() for _ in range(2)]
        for client in clients:
            await client.request("/sse/connect/s1", node.bearer())
        await until(lambda: len(broker.interest) == 6)
        broker.go_on.set()
        assert sorted([(await client.response()).status for client in clients]) == [200, status]
        assert len(broker.interest) == 3, "who was turned away is not interested any more"
        assert sum(node.server.stats.connects_rejected.values()) == 1


@pytest.mark.gen_test
async def test_a_broker_that_takes_no_interest_turns_the_client_away(clock: Clock) -> None:
    class Down(SlowReplay):
        async def subscribe(self, _topics: Sequence[Topic]) -> None:
            raise Unavailable("the broker is down")

    async with serving(clock, Down(clock)) as node:
        response = await node.ask("/sse/connect/s1")
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        assert node.server.stats.connects_rejected == {"broker": 1}
        shed = await node.connect()
        assert [block.json()["reason"] for block in await shed.rest()] == ["limit"]


@pytest.mark.gen_test
async def test_a_client_that_is_gone_before_its_stream_opens_leaves_nothing(clock: Clock) -> None:
    broker = Hesitant(clock)
    async with serving(clock, broker) as node:
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer())
        await broker.asked.wait()
        assert broker.interest != []
        client.reset()
        other = await node.client()
        await other.request("/healthz")
        assert (await other.response()).status == 200, "the loop has heard of the reset by now"
        broker.go_on.set()
        await until(lambda: broker.interest == [])
        assert node.server.stats.streams_opened == 0


# Over TLS


@pytest.fixture
def ssl_options(tmp_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    pem = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    file = tmp_path / "tls.pem"
    file.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.mark.gen_test
async def test_tls_ends_in_front_of_us(https_client: AsyncHTTPClient, base_url: str, clock: Clock) -> None:
    response = await https_client.fetch(
        f"{base_url}/sse/connect/s1", headers=bearer(now=clock()), validate_cert=False, raise_error=False
    )
    assert response.code == 501
    assert b"streams want a proxy in front that ends TLS" in response.body

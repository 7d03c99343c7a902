"""Opening streams: everything from the first byte on the wire to who is turned away, and how."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tornado.httpclient import AsyncHTTPClient

from client_support import Block, Client, until
from server_support import Clock, bearer, serving
from tornado_sse.brokers.base import Past
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.errors import Unavailable
from tornado_sse.history import History
from tornado_sse.topic import Topic

EVENT_STREAM = {"Accept": "text/event-stream"}


async def first(client: Client) -> Block:
    block = await client.block()
    assert block is not None
    return block


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
        begin = await first(client)
        assert begin.fields.keys() == {"retry", "id"}, "it sets the browser's last event id, and dispatches nothing"
        assert begin.id == f"{node.server.broker.epoch}-0"
        await node.server.publish({"user": "u1"}, "hello")
        event = await client.event()
        assert event.fields == {"id": f"{node.server.broker.epoch}-1", "data": "hello"}


@pytest.mark.gen_test
async def test_times_to_reconnect_differ_from_stream_to_stream() -> None:
    async with serving(retry=4, max_streams_per_user=0) as node:
        retries = [(await first(await node.connect())).retry or 0 for _ in range(40)]
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
        assert (await first(client)).id is not None
        await node.server.publish("all", "hello")
        assert await client.data() == "hello"
        await node.server.disconnect("u1", "s1")
        assert [block.event for block in await client.rest()] == ["stream-closing"]


@pytest.mark.gen_test
async def test_compressed_streams_are_decoded_event_by_event() -> None:
    async with serving(compression=True) as node:
        clients = [await node.connect(headers={"Accept-Encoding": "br, gzip;q=0.5"}) for _ in range(2)]
        for client in clients:
            assert (await first(client)).id is not None
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


# Resume


@pytest.mark.parametrize("by", ["header", "query", "both"])
@pytest.mark.gen_test
async def test_resumes_after_the_last_event_id_and_the_header_wins(by: str) -> None:
    async with serving() as node:
        sent = [await node.server.publish({"user": "u1"}, f"m{number}") for number in range(4)]
        await node.server.publish({"user": "u2"}, "not mine")
        position, wrong = str(sent[1].position), str(sent[3].position)
        headers = {"Last-Event-ID": position} if by != "query" else {}
        query = {"header": "", "query": f"?lastEventId={position}", "both": f"?lastEventId={wrong}"}[by]
        client = await node.connect(headers=headers, query=query)
        assert (await first(client)).id == position
        assert [await client.data(), await client.data()] == ["m2", "m3"]
        assert (await first(client)).id == f"{node.server.broker.epoch}-5", (
            "the present position, past what is not mine"
        )
        await node.server.publish("all", "live")
        assert await client.data() == "live"
        assert node.server.stats.resumes == {"recovered": 1}
        assert node.server.stats.gaps == {}


@pytest.mark.gen_test
async def test_an_empty_last_event_id_is_a_first_connect() -> None:
    async with serving() as node:
        await node.server.publish("all", "before")
        client = await node.opened(query="?lastEventId=", headers={"Last-Event-ID": ""})
        await node.server.publish("all", "after")
        assert await client.data() == "after"
        assert node.server.stats.resumes == {}


@pytest.mark.parametrize(
    "position",
    [
        "zzzzzzzz-2",
        "EPOCH-99",
        "garbage",
        "-",
        "EPOCH-01",
        "EPOCH--1",
        "EPOCH-" + "9" * 40,
        "%FF%00",
        "\u202e",
        "0" * 3000,
    ],
)
@pytest.mark.parametrize("by", ["header", "query"])
@pytest.mark.gen_test
async def test_a_position_that_says_nothing_is_a_gap_and_no_error(position: str, by: str) -> None:
    async with serving() as node:
        receipt = await node.server.publish("all", "before")
        text = position.replace("EPOCH", receipt.position.epoch)
        headers = {"Last-Event-ID": text.encode().decode("latin-1")} if by == "header" else {}
        query = f"?lastEventId={quote(text, safe='%')}" if by == "query" else ""
        client = await node.client()
        lines = "".join(f"{name}: {value}\r\n" for name, value in (node.bearer() | headers).items())
        await client.send(f"GET /sse/connect/s1{query} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode("latin-1"))
        await client.streaming()
        gap = await client.event()
        assert gap.event == "stream-gap"
        assert gap.json()["reason"] in ("epoch", "unknown")
        if gap.json()["reason"] == "epoch":
            assert await client.data() == "before", "what the new epoch has is replayed"
        await node.server.publish("all", "after")
        assert await client.data() == "after"
        assert node.server.stats.resumes == {"gap": 1}
        assert sum(node.server.stats.gaps.values()) == 1


@pytest.mark.gen_test
async def test_what_history_no_longer_holds_is_told_first() -> None:
    async with serving(history_size=2) as node:
        sent = [str((await node.server.publish("all", f"m{number}")).position) for number in range(5)]
        client = await node.connect(headers={"Last-Event-ID": sent[0]})
        gap = await client.event()
        assert gap.event == "stream-gap"
        assert gap.json() == {"from": sent[0], "to": sent[2], "reason": "evicted"}
        assert [await client.data(), await client.data()] == ["m3", "m4"]
        assert node.server.stats.gaps == {"evicted": 1}


class SlowReplay(MemoryBroker):
    """Waits before it gives the past, as a broker at the other end of a wire does; or fails."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(History(size=100, ttl=300, max_bytes=10**6, clock=clock), idempotency_window=120, clock=clock)
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.fails = False
        self.interest: list[Topic] = []

    async def subscribe(self, topics: Sequence[Topic]) -> None:
        self.interest.extend(topics)

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            self.interest.remove(topic)

    async def replay(self, topics: Sequence[Topic], after: int | None) -> Past:
        past = await super().replay(topics, after)
        self.asked.set()
        await self.go_on.wait()
        if self.fails:
            raise Unavailable("the broker is gone")
        return past


@pytest.mark.gen_test
async def test_what_is_published_during_a_resume_arrives_exactly_once_and_in_order(clock: Clock) -> None:
    broker = SlowReplay(clock)
    async with serving(clock, broker) as node:
        start = (await node.server.publish("all", "m0")).position
        await node.server.publish("all", "m1")
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer() | {"Last-Event-ID": str(start)})
        await broker.asked.wait()
        await node.server.publish("all", "m2")
        await until(lambda: node.server.registry.fanout.idle)
        await node.server.publish("all", "m3")
        broker.go_on.set()
        await node.server.publish("all", "m4")
        await client.streaming()
        assert [await client.data() for _ in range(4)] == ["m1", "m2", "m3", "m4"]
        await node.server.publish("all", "m5")
        assert await client.data() == "m5"


@pytest.mark.gen_test
async def test_a_replay_that_fails_ends_the_connection_so_that_the_client_comes_back(clock: Clock) -> None:
    broker = SlowReplay(clock)
    broker.fails = True
    broker.go_on.set()
    async with serving(clock, broker) as node:
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer())
        assert await client.read_all() == b""
        assert node.streams == []
        assert broker.interest == []
        broker.fails = False
        await node.opened()


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
    class Hesitant(SlowReplay):
        async def subscribe(self, topics: Sequence[Topic]) -> None:
            await super().subscribe(topics)
            self.asked.set()
            await self.go_on.wait()

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
        response = await node.ask("/sse/connect/s2")
        assert response.status == 503
        assert response.json() == {"message": f"no new streams now: {reason}", "status": "SERVICE_UNAVAILABLE"}
        assert response.headers["retry-after"] == "5"
        assert node.server.stats.connects_rejected == {reason: 2}
        assert len(node.streams) == 1


# The end


@pytest.mark.gen_test
async def test_stray_bytes_do_no_harm_and_the_close_behind_them_is_noticed_at_once() -> None:
    async with serving() as node:
        client = await node.opened()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        await node.server.publish("all", "still there")
        assert await client.data() == "still there"
        client.close()
        await until(lambda: node.streams == [])
        assert node.server.stats.streams_closed == {"client_gone": 1}


@pytest.mark.gen_test
async def test_bytes_sent_along_with_the_request_do_not_hide_the_close() -> None:
    async with serving() as node:
        client = await node.client()
        token = node.bearer()["Authorization"]
        await client.send(f"GET /sse/connect/s1 HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\nx".encode())
        await client.streaming()
        client.close()
        await until(lambda: node.server.stats.streams_closed == {"client_gone": 1})


@pytest.mark.parametrize("how", ["shutdown", "reset"])
@pytest.mark.gen_test
async def test_every_way_to_go_is_noticed(how: str) -> None:
    async with serving() as node:
        client = await node.opened()
        if how == "shutdown":
            client.socket.shutdown(socket.SHUT_WR)
        else:
            client.reset()
        await until(lambda: node.streams == [])
        assert node.server.stats.streams_closed == {"client_gone": 1}


@pytest.mark.gen_test
async def test_keepalives_arrive_and_peers_gone_silent_are_the_kernels_affair() -> None:
    async with serving(keepalive=0.1, tcp_user_timeout=12) as node:
        client = await node.opened()
        for _ in range(3):
            block = await first(client)
            assert block.comment
            assert block.fields == {}
        (stream,) = node.streams
        assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 12_000
        assert node.server.stats.keepalives_sent >= 3


@pytest.mark.gen_test
async def test_a_stream_ends_when_its_token_does(clock: Clock) -> None:
    async with serving(clock) as node:
        client = await node.opened(ttl=90)
        short = await node.opened("s2", ttl=10)
        clock.advance(1)
        node.server.registry.tick()
        assert (await short.event()).json() == {"expiresIn": 9}
        clock.advance(60)
        node.server.registry.tick()
        assert (await short.event()).json() == {"reason": "expired", "reconnect": False}
        warning = await client.event()
        assert (warning.event, warning.json()) == ("stream-expiring", {"expiresIn": 29})
        clock.advance(30)
        node.server.registry.tick()
        (farewell,) = await client.rest()
        assert farewell.json() == {"reason": "expired", "reconnect": False}
        assert node.server.stats.streams_closed == {"expired": 2}


@pytest.mark.gen_test
async def test_a_token_that_lives_on_its_leeway_gives_a_stream_for_the_rest_of_it(clock: Clock) -> None:
    async with serving(clock, jwt_leeway=5) as node:
        client = await node.opened(ttl=-2)
        clock.advance(1)
        node.server.registry.tick()
        assert (await client.event()).event == "stream-expiring"
        clock.advance(3)
        node.server.registry.tick()
        assert (await client.event()).event == "stream-closing"


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

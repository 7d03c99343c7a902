"""Opening streams: everything from the first byte on the wire to who listens to what."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tornado.httpclient import AsyncHTTPClient

from server_support import Clock, bearer, serving

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

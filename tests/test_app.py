"""The server as a part of somebody else's application."""

import ast
import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler

from client_support import Client
from server_support import SECRET, Clock, bearer, serving, token
from tornado_sse import app as module
from tornado_sse.app import EventServer
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.config import Settings
from tornado_sse.errors import BadRequest
from tornado_sse.history import History
from tornado_sse.topic import ALL

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Shop(RequestHandler):
    """A route that was there before us."""

    def get(self) -> None:
        self.write("shop")


@pytest.fixture
def app() -> Application:
    return Application([("/", Shop)])


def documented_lines() -> str:
    """The three lines that the module's documentation shows."""
    lines = [line.strip() for line in str(module.__doc__).splitlines() if line.startswith("    ")]
    assert len(lines) == 3
    return "\n".join(lines)


@pytest.mark.gen_test
async def test_three_lines_put_it_into_an_application(
    app: Application, http_client: AsyncHTTPClient, base_url: str
) -> None:
    lines = documented_lines().replace("jwt_secret=...", "jwt_secret=SECRET")
    names = {"EventServer": EventServer, "Settings": Settings, "SECRET": SECRET, "application": app}
    code = compile(lines, "<documentation>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await cast("Awaitable[None]", eval(code, names))  # noqa: S307 - our own documentation
    events = cast("EventServer", names["events"])

    client = await Client.to(int(base_url.rpartition(":")[2]))
    await client.request("/sse/connect/s1", bearer() | {"Last-Event-ID": f"{events.broker.epoch}-0"})
    await client.streaming()
    assert (await client.event()).json() == {"order": 7}
    await events.publish("all", "live")
    assert await client.data() == "live"
    assert (await http_client.fetch(base_url + "/")).body == b"shop"
    assert (await http_client.fetch(base_url + "/healthz")).code == 200
    await events.close()
    assert [block.event for block in await client.rest()] == ["stream-closing"]
    client.close()


@pytest.mark.gen_test
async def test_a_request_starts_it_as_well(app: Application, http_client: AsyncHTTPClient, base_url: str) -> None:
    events = EventServer(Settings(jwt_secret=SECRET))
    app.add_handlers(r".*", events.routes())
    before = events.ready
    await http_client.fetch(base_url + "/healthz")
    assert (before, events.ready) == (False, True)
    await events.close()


@pytest.mark.gen_test
async def test_a_broker_may_be_brought_along(clock: Clock) -> None:
    broker = MemoryBroker(History(size=1, ttl=1, max_bytes=1000, clock=clock), idempotency_window=1, clock=clock)
    async with serving(clock, broker) as node:
        assert node.server.broker is broker
        assert (await node.server.publish("all", "hello")).position.epoch == broker.epoch


@pytest.mark.gen_test
async def test_settings_reach_the_history(clock: Clock) -> None:
    async with serving(clock, history_size=0) as node:
        first = (await node.server.publish("all", "one")).position
        await node.server.publish("all", "two")
        client = await node.connect(headers={"Last-Event-ID": str(first)})
        assert (await client.event()).json()["reason"] == "evicted"


@pytest.mark.parametrize(("compression", "kept"), [(False, 2), (True, 1)])
@pytest.mark.gen_test
async def test_history_leaves_room_for_the_compressed_form_of_its_messages(
    clock: Clock, *, compression: bool, kept: int
) -> None:
    async with serving(clock, history_bytes=25_000, compression=compression) as node:
        begin = (await node.server.publish("all", "x")).position.sequence
        for _ in range(2):
            await node.server.publish("all", "x" * 10_000)
        assert len((await node.server.broker.replay([ALL], begin)).messages) == kept


def test_admin_routes_are_others() -> None:
    events = EventServer(Settings(jwt_secret=SECRET))
    public = {route.regex.pattern for route in events.routes()}
    admin = {route.regex.pattern for route in events.admin_routes()}
    assert "/metrics$" in admin - public
    assert "/sse/publish$" in public - admin


@pytest.mark.gen_test
async def test_the_access_log_of_the_application_shows_no_credential(
    app: Application, http_client: AsyncHTTPClient, base_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = EventServer(Settings(jwt_secret=SECRET, max_streams_per_user=1, query_token=True))
    app.add_handlers(r".*", server.routes())
    secret = token()
    minted = server.mint("u1").session_id
    with caplog.at_level("INFO", logger="tornado.access"):
        for path in (f"/sse/connect/{minted}x", f"/sse/connect/s1?access_token={secret}x"):
            response = await http_client.fetch(base_url + path, raise_error=False)
            assert response.code == 401
    lines = [record.getMessage() for record in caplog.records if record.name == "tornado.access"]
    assert len(lines) == 2
    assert not any(secret[:40] in line or minted[:40] in line for line in lines)
    await server.close()


@pytest.mark.parametrize("guard", ["xsrf_cookies", "cross_origin_protection"])
@pytest.mark.gen_test
async def test_what_an_application_guards_its_forms_with_is_not_asked_of_us(
    app: Application, http_client: AsyncHTTPClient, base_url: str, guard: str
) -> None:
    server = EventServer(Settings(jwt_secret=SECRET, allowed_origins=["https://app.example.com"]))
    app.settings[guard] = True
    app.add_handlers(r".*", server.routes())
    headers = {"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"} | bearer()
    for origin, status in (("https://app.example.com", 200), ("https://elsewhere.example.com", 403)):
        response = await http_client.fetch(
            f"{base_url}/sse/publish",
            method="POST",
            body='{"to": "all", "data": "x"}',
            headers=headers | {"Origin": origin},
            raise_error=False,
        )
        assert response.code == status
        assert "receipts" in json.loads(response.body) or "origin" in json.loads(response.body)["message"]
    await server.close()


@pytest.mark.parametrize(
    ("to", "data", "options"),
    [
        ("all", object(), {}),
        ("all", {"a": "\ud800"}, {}),
        ("all", "\ud800", {}),
        ("all", "x", {"ttl": -5}),
        ("all", "x", {"ttl": "5"}),
        ("all", "x", {"event": 5}),
        ("all", "x", {"key": ""}),
        ("all", "x", {"idempotency_key": ["a"]}),
        ({"user": ""}, "x", {}),
    ],
)
@pytest.mark.gen_test
async def test_publishing_in_process_refuses_what_http_would(to: Any, data: Any, options: dict[str, Any]) -> None:
    server = EventServer(Settings(jwt_secret=SECRET))
    with pytest.raises(BadRequest):
        await server.publish(to, data, **options)
    assert +server.stats.messages_published == {"invalid": 1}

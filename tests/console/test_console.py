"""The console's API, its stream and its files, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs
from tornado.web import Application

from client_support import Client, Response, until
from server_support import SECRET, Clock, Served, bearer, serving
from tornado_sse.app import EventServer
from tornado_sse.config import Settings
from tornado_sse.console.node import KEPT, Console
from tornado_sse.handlers.page import WEB
from tornado_sse.log import fingerprint

JSON = {"Content-Type": "application/json"}
API = [
    ("GET", "/api/live"),
    ("GET", "/api/sessions"),
    ("POST", "/api/disconnect"),
    ("POST", "/api/send"),
    ("POST", "/api/drain"),
]


@asynccontextmanager
async def console(clock: Clock | None = None, **settings: Any) -> AsyncIterator["Watched"]:
    async with serving(clock, **settings) as node:
        yield Watched(node)


class Watched:
    """A server, and its admin."""

    def __init__(self, node: Served) -> None:
        self.node = node
        found = node.server._console
        assert found
        self.console: Console = found

    async def ask(self, path: str, body: bytes = b"", *, method: str = "", **headers: str) -> Response:
        every = self.node.bearer("ops", scopes=["admin"]) | JSON | headers
        method = method or ("POST" if body else "GET")
        return await self.node.ask(path, every, method=method, body=body, admin=True, user=None)

    async def live(self, **headers: str) -> Client:
        client = await self.node.client(admin=True)
        every = self.node.bearer("ops", scopes=["admin"]) | {"Accept": "text/event-stream"}
        await client.request("/api/live", every | {name.replace("_", "-"): value for name, value in headers.items()})
        await client.streaming()
        return client


@pytest.mark.gen_test
@pytest.mark.parametrize(("method", "path"), API)
async def test_all_of_it_wants_an_admin(method: str, path: str) -> None:
    async with serving() as node:
        body = b"{}" if method == "POST" else b""

        async def status(headers: dict[str, str]) -> int:
            answer = await node.ask(path, headers, method=method, body=body, admin=True, user=None)
            return answer.status

        assert await status(JSON) == 401
        assert await status(JSON | {"Authorization": "Bearer nonsense"}) == 401
        assert await status(JSON | bearer("u1", scopes=["subscribe", "publish", "sessions"])) == 403
        assert await status(JSON | bearer("ops", scopes=["admin"], ttl=-60)) == 401
        assert await status(JSON | bearer("ops", scopes=["admin"]) | {"Origin": "https://evil.example"}) == 403
        assert node.server.stats.auth_failures == {"missing": 1, "malformed": 1, "scope": 1, "expired": 1, "origin": 1}


@pytest.mark.gen_test
@pytest.mark.parametrize(("method", "path"), [*API, ("GET", "/console")])
async def test_the_public_listener_has_none_of_it(method: str, path: str) -> None:
    async with serving() as node:
        headers = bearer("ops", scopes=["admin"])
        assert (await node.ask(path, headers, method=method, user=None)).status == 404


@pytest.mark.gen_test
@pytest.mark.parametrize("name", ["console", *(f"console/{file.name}" for file in sorted(WEB.glob("console*.[cj]s*")))])
async def test_files_load_nothing_from_elsewhere(name: str) -> None:
    async with serving() as node:
        response = await node.ask(f"/{name}", admin=True, user=None)
    policy = response.headers["content-security-policy"].split("; ")
    assert response.status == 200
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["referrer-policy"] == "no-referrer"


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/console/", "/console/demo.js", "/console/console.html", "/console/../app.py"])
async def test_no_other_files(path: str) -> None:
    async with serving() as node:
        assert (await node.ask(path, admin=True, user=None)).status == 404


@pytest.mark.gen_test
async def test_figures_stream_to_whoever_watches() -> None:
    async with console() as watched:
        await watched.node.opened("s1", user="anna")
        client = await watched.live()
        await watched.console.look()
        await watched.node.server.publish({"user": "anna"}, "hello")
        await until(lambda: watched.node.server.stats.messages_delivered)
        await watched.console.look()
        figures = [await client.event() for _ in range(2)][-1]
        assert figures.event == "figures"
        told = figures.json()
        assert (told["streams"], told["users"], told["ready"], told["processes"]) == (1, 1, True, 1)
        assert told["delivered"] > 0
        assert len(watched.node.streams) == 1  # the console's own is not among them


@pytest.mark.gen_test
async def test_who_comes_later_gets_what_is_kept() -> None:
    async with console() as watched:
        for _ in range(KEPT + 5):
            await watched.console.look()
        client = await watched.live()
        events = [await client.event() for _ in range(KEPT)]
        assert {event.event for event in events} == {"figures"}
        assert [event.id for event in events[:1]] != [f"{watched.console.broker.epoch}-1"]
        last = events[-2].id or ""
        again = await watched.live(Last_Event_ID=last)
        assert (await again.event()).id == events[-1].id


@pytest.mark.gen_test
async def test_it_looks_by_itself() -> None:
    async with console() as watched:
        client = await watched.live()
        assert (await client.event()).event == "figures"


@pytest.mark.gen_test
async def test_a_head_of_the_stream() -> None:
    async with console() as watched:
        response = await watched.ask("/api/live", method="HEAD")
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")


@pytest.mark.gen_test
async def test_the_stream_ends_with_the_token(clock: Clock) -> None:
    async with console(clock) as watched:
        client = await watched.live()
        clock.advance(4000)
        events = await client.rest()
        assert events[-1].json() == {"reason": "expired", "reconnect": False}


@pytest.mark.gen_test
async def test_sessions() -> None:
    async with console() as watched:
        await watched.node.opened("s1", user="anna")
        await watched.node.opened("s2", user="bert", query="?channel=news")
        answer = (await watched.ask("/api/sessions?search=BERT&sort=sent&descending=true&offset=0&limit=10")).json()
        (row,) = answer["rows"]
        assert answer["found"] == 1
        assert row.pop("age") >= 0
        assert row == {
            "user": "bert",
            "session": fingerprint("s2"),
            "address": "127.0.0.1",
            "channels": 1,
            "sent": 0,
            "backlog": 0,
        }
        assert (await watched.ask("/api/sessions")).json()["found"] == 2


@pytest.mark.gen_test
@pytest.mark.parametrize("query", ["limit=x", "limit=0", "limit=201", "offset=10001", "sort=session", "colour=red"])
async def test_a_question_that_is_none(query: str) -> None:
    async with console() as watched:
        assert (await watched.ask(f"/api/sessions?{query}")).status == 400


@pytest.mark.gen_test
async def test_many_streams_are_found_in_steps_that_let_others_run() -> None:
    async with console(max_streams_per_user=0) as watched:
        registry = watched.node.server.registry
        await watched.node.opened("s1", user="anna")
        (stream,) = watched.node.streams
        registry.hub.streams |= {copy_of(stream): None for _ in range(1200)}
        try:
            asking = asyncio.ensure_future(watched.ask("/api/sessions"))
            assert (await asking).json()["found"] == 1201
        finally:
            registry.hub.streams = {stream: None}


def copy_of(stream: Any) -> Any:
    class Copy:
        user, session, address, channels = stream.user, stream.session, stream.address, stream.channels
        opened_at, sent, is_ended, outbox = stream.opened_at, stream.sent, False, None

    return Copy()


@pytest.mark.gen_test
async def test_a_session_is_disconnected_and_kept_out() -> None:
    async with console() as watched:
        client = await watched.node.opened("s1", user="anna")
        other = await watched.node.opened("s2", user="anna")
        body = b'{"user": "anna", "session": "%s"}' % fingerprint("s1").encode()
        with capture_logs() as log:
            response = await watched.ask("/api/disconnect", body)
        assert (response.status, response.json()) == (200, {"streams": 1})
        assert (await client.event()).json() == {"reason": "disconnected", "reconnect": False}
        assert (await watched.node.ask("/sse/connect/s1", user="anna")).status == 204
        await watched.node.server.publish({"user": "anna"}, "still here")
        assert await other.data() == "still here"
        assert [line["by"] for line in log if line["event"] == "console"] == ["ops"]


@pytest.mark.gen_test
async def test_a_user_is_disconnected() -> None:
    async with console() as watched:
        clients = [await watched.node.opened(f"s{n}", user="anna") for n in range(2)]
        assert (await watched.ask("/api/disconnect", b'{"user": "anna"}')).json() == {"streams": 2}
        for client in clients:
            assert (await client.event()).event == "stream-closing"
        assert (await watched.node.ask("/sse/connect/s0", user="anna")).status == 204


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [b'{"user": "nobody"}', b'{"user": "anna", "session": "00000000"}'])
async def test_nothing_to_disconnect(body: bytes) -> None:
    async with console() as watched:
        await watched.node.opened("s1", user="anna")
        assert (await watched.ask("/api/disconnect", body)).status == 404


@pytest.mark.gen_test
async def test_a_message_is_sent() -> None:
    async with console() as watched:
        client = await watched.node.opened("s1", user="anna")
        response = await watched.ask("/api/send", b'{"to": {"user": "anna"}, "data": {"a": 1}, "event": "order"}')
        assert response.json()["streams"] == 1
        event = await client.event()
        assert (event.event, event.data, event.id) == ("order", '{"a":1}', response.json()["position"])


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/send", b'{"to": "nobody", "data": 1}', 400),
        ("/api/send", b'{"to": "all", "data": 1, "event": "stream-x"}', 400),
        ("/api/send", b'{"to": "all"}', 400),
        ("/api/send", b"{", 400),
        ("/api/disconnect", b'{"user": ""}', 400),
        ("/api/disconnect", b'{"user": "a", "more": 1}', 400),
        ("/api/disconnect", b'{"user": "a", "session": "an-id-in-full"}', 400),
    ],
)
async def test_a_body_that_is_none(path: str, body: bytes, status: int) -> None:
    async with console() as watched:
        assert (await watched.ask(path, body)).status == status


@pytest.mark.gen_test
async def test_a_body_of_another_type() -> None:
    async with console() as watched:
        assert (await watched.ask("/api/send", b"{}", **{"Content-Type": "text/plain"})).status == 415


@pytest.mark.gen_test
async def test_draining_is_for_the_process_to_do() -> None:
    async with console() as watched:
        asked: list[str] = []
        response = await watched.ask("/api/drain", b"{}")
        assert (response.status, asked) == (501, [])
        watched.node.server.operations.on_drain = lambda: asked.append("drain")
        response = await watched.ask("/api/drain", b"{}")
        assert (response.status, response.json(), asked) == (202, {"draining": True}, ["drain"])


@pytest.mark.gen_test
async def test_a_reload_changes_who_is_an_admin() -> None:
    async with console() as watched:
        other = Settings(jwt_secret="another secret that is long enough for it")
        watched.node.server.reload(other)
        assert (await watched.ask("/api/sessions")).status == 401


@pytest.mark.gen_test
async def test_a_console_that_is_closed_looks_no_more() -> None:
    async with console() as watched:
        await watched.console.close()
        await watched.console.look()


@pytest.mark.gen_test
async def test_a_second_start_changes_nothing() -> None:
    async with console() as watched:
        await watched.node.server.start()
        client = await watched.live()
        assert (await client.event()).event == "figures"


@pytest.mark.gen_test
async def test_routes_taken_after_the_start() -> None:
    """As an application does that mounts them late: the first request starts the console."""
    server = EventServer(Settings(jwt_secret=SECRET))
    await server.start()
    application = Application(server.admin_routes())
    listening = application.listen(0, "127.0.0.1")
    port = next(iter(listening._sockets.values())).getsockname()[1]
    client = await Client.to(port)
    await client.request("/api/live", bearer("ops", scopes=["admin"]))
    await client.streaming()
    assert (await client.event()).event == "figures"
    client.close()
    listening.stop()
    await server.close()
    server.reload(Settings(jwt_secret=SECRET))

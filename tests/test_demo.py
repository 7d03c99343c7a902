"""The demo's page and what its buttons ask for."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.ioloop import IOLoop
from tornado.routing import URLSpec
from tornado.web import Application

from tornado_sse.app import EventServer
from tornado_sse.config import Settings
from tornado_sse.handlers.demo import demo_routes
from tornado_sse.handlers.page import WEB
from tornado_sse.handlers.routes import application, public_routes

SECRET = "a secret for the tests, made of 40 bytes"


@pytest.fixture
def server() -> EventServer:
    return EventServer(Settings(dev=True, jwt_secret=SECRET))


@pytest.fixture
def app(server: EventServer) -> Application:
    return application(server, server.routes())


class Demo:
    """What the page does, over HTTP."""

    def __init__(self, client: AsyncHTTPClient, base_url: str) -> None:
        self.client = client
        self.base_url = base_url

    async def get(self, path: str) -> HTTPResponse:
        return await self.client.fetch(self.base_url + path, raise_error=False, follow_redirects=False)

    async def post_raw(self, action: str, body: bytes, headers: dict[str, str]) -> HTTPResponse:
        as_json = {"Content-Type": "application/json", **headers}
        return await self.client.fetch(
            f"{self.base_url}/demo/{action}", method="POST", body=body, headers=as_json, raise_error=False
        )

    async def post(self, action: str, **body: object) -> HTTPResponse:
        return await self.post_raw(action, json.dumps(body).encode(), {"Origin": self.base_url})

    async def session(self, name: str = "otter") -> str:
        return str(answer(await self.post("session", name=name))["sessionId"])

    @asynccontextmanager
    async def stream(self, session_id: str, last_event_id: str = "") -> AsyncIterator[asyncio.StreamReader]:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.base_url.rpartition(":")[2]))
        path = f"/sse/connect/{session_id}?channel=demo&lastEventId={last_event_id}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
        try:
            yield reader
        finally:
            writer.close()


@pytest.fixture
def demo(http_client: AsyncHTTPClient, base_url: str) -> Demo:
    return Demo(http_client, base_url)


@pytest.fixture(autouse=True)
def closed(server: EventServer, io_loop: IOLoop) -> Iterator[None]:
    yield
    io_loop.run_sync(server.close)


def answer(response: HTTPResponse) -> dict[str, Any]:
    body = json.loads(response.body)
    assert isinstance(body, dict)
    return body


async def until(reader: asyncio.StreamReader, text: str) -> str:
    return (await asyncio.wait_for(reader.readuntil(text.encode()), 5)).decode()


class Links(HTMLParser):
    """Collects what a page loads or names, and what would need more than the policy allows."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.urls += [value for name in ("src", "href", "action") if (value := names.get(name))]
        if tag == "style" or (tag == "script" and "src" not in names):
            self.inline.append(tag)
        self.inline += [name for name in names if name == "style" or name.startswith("on")]


def test_only_dev_mode_has_it() -> None:
    def patterns(routes: list[URLSpec]) -> list[str]:
        return [route.regex.pattern for route in routes if "/demo" in route.regex.pattern]

    assert patterns(public_routes(EventServer(Settings(jwt_secret=SECRET)))) == []
    dev = EventServer(Settings(dev=True, jwt_secret=SECRET))
    assert patterns(public_routes(dev)) == patterns(demo_routes(dev)) != []


@pytest.mark.gen_test
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example", "xlocalhost"])
async def test_a_page_whose_name_was_made_to_lead_here_gets_nothing(demo: Demo, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    for response in (
        await demo.post_raw("session", b'{"name": "victim"}', headers),
        await demo.client.fetch(f"{demo.base_url}/demo", headers=headers, raise_error=False),
    ):
        message = "in dev mode only localhost and addresses are answered, no other host"
        assert (response.code, answer(response)) == (421, {"message": message, "status": "MISDIRECTED_REQUEST"})
        assert response.headers["Content-Type"] == "application/json"


@pytest.mark.gen_test
@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "sse.localhost", "LOCALHOST:1", "[::1]:80"])
async def test_the_machines_own_names_are_answered(demo: Demo, host: str) -> None:
    response = await demo.client.fetch(f"{demo.base_url}/demo", headers={"Host": host})
    assert response.code == 200


@pytest.mark.gen_test
async def test_the_root_leads_to_the_page(demo: Demo) -> None:
    response = await demo.get("/")
    assert (response.code, response.headers["Location"]) == (302, "demo")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/demo", "text/html"),
        ("/demo/base.css", "text/css"),
        ("/demo/demo.css", "text/css"),
        ("/demo/demo.js", "text/javascript"),
        ("/demo/view.js", "text/javascript"),
    ],
)
async def test_files(demo: Demo, path: str, media_type: str) -> None:
    response = await demo.get(path)
    assert response.code == 200
    assert response.headers["Content-Type"] == f"{media_type}; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert policy[:4] == ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"]
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/demo/", "/demo/demo.html", "/demo/../app.py", "/demo/%2e%2e/app.py", "/demo/nope"])
async def test_no_other_files(demo: Demo, path: str) -> None:
    assert (await demo.get(path)).code == 404


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline() -> None:
    links = Links()
    links.feed((WEB / "demo.html").read_text(encoding="utf-8"))
    assert links.inline == []
    assert {"demo/base.css", "demo/demo.css", "demo/demo.js"} <= set(links.urls)
    assert all(url.startswith(("demo", "data:image/svg+xml")) for url in links.urls)
    assert all("http" not in (WEB / name).read_text(encoding="utf-8") for name in ("demo.js", "view.js"))
    assert all("url(" not in (WEB / name).read_text(encoding="utf-8") for name in ("base.css", "demo.css"))


@pytest.mark.gen_test
async def test_a_session_for_a_name(demo: Demo, server: EventServer) -> None:
    response = await demo.post("session", name="otter")
    body = answer(response)
    assert response.code == 201
    assert (body["userId"], body["channel"]) == ("otter", "demo")
    assert 0 < body["expiresAt"] - body["now"] <= server.settings.session_ttl
    principal = server.open_minted(body["sessionId"])
    assert principal is not None
    assert (principal.user, principal.channels) == ("otter", ("demo",))


@pytest.mark.gen_test
@pytest.mark.parametrize("action", ["session", "send", "cut"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_another_site_may_not_press_the_buttons(demo: Demo, action: str, headers: dict[str, str]) -> None:
    response = await demo.post_raw(action, b"{}", headers)
    assert response.code == 403
    assert answer(response)["status"] == "FORBIDDEN"


@pytest.mark.gen_test
async def test_an_allowed_origin_is_allowed_the_streams_but_not_the_buttons(demo: Demo, server: EventServer) -> None:
    other = "https://app.example.com"
    server.reload(server.settings.model_copy(update={"allowed_origins": [other]}))
    assert (await demo.post_raw("session", b'{"name":"otter"}', {"Origin": other})).code == 403


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("session", b""),
        ("session", b"[]"),
        ("session", b"{"),
        ("session", b'{"name": "\xff"}'),
        ("session", b'{"name": 1}'),
        ("session", b'{"name": ""}'),
        ("session", b'{"name": "otter", "more": 1}'),
        ("session", b"[" * 100_000),
        ("send", b'{"sessionId": "x", "text": "hello"}'),
        ("send", b'{"sessionId": "x", "text": "", "to": "me"}'),
        ("send", b'{"sessionId": "x", "text": "hello", "to": "all"}'),
        ("cut", b"{}"),
    ],
)
async def test_a_bad_body(demo: Demo, action: str, body: bytes) -> None:
    response = await demo.post_raw(action, body, {"Sec-Fetch-Site": "same-origin"})
    assert response.code == 400
    assert answer(response)["status"] == "BAD_REQUEST"


@pytest.mark.gen_test
@pytest.mark.parametrize(("action", "more"), [("send", {"text": "hello", "to": "me"}), ("cut", {})])
async def test_only_a_minted_session_acts(demo: Demo, action: str, more: dict[str, str]) -> None:
    changed = (await demo.session())[:-2] + "AA"
    for session_id in ("plain", changed):
        response = await demo.post(action, sessionId=session_id, **more)
        assert response.code == 401
        assert "WWW-Authenticate" in response.headers
        assert session_id not in response.body.decode()


@pytest.mark.gen_test
async def test_send_to_myself_and_to_everyone(demo: Demo) -> None:
    otter, wren = await demo.session("otter"), await demo.session("wren")
    async with demo.stream(otter) as mine, demo.stream(wren) as theirs:
        await until(mine, "id: ")
        await until(theirs, "id: ")
        first = answer(await demo.post("send", sessionId=otter, text="for me", to="me"))
        second = answer(await demo.post("send", sessionId=otter, text="for all", to="everyone"))
        assert (first["streams"], second["streams"]) == (1, 2)
        got = await until(mine, f"id: {second['position']}")
        assert re.search(rf"event: note\ndata: .*for me.*\nid: {first['position']}\n", got)
        assert re.search(r"event: announcement\ndata: .*for all", got)
        assert "for me" not in await until(theirs, "for all")


@pytest.mark.gen_test
async def test_a_cut_is_abrupt_and_the_resume_complete(demo: Demo) -> None:
    session_id = await demo.session()
    async with demo.stream(session_id) as stream:
        await until(stream, "id: ")
        position = (await until(stream, "\n")).strip()
        assert answer(await demo.post("cut", sessionId=session_id)) == {"streams": 1}
        rest = await asyncio.wait_for(stream.read(), 5)
        assert b"stream-closing" not in rest
        assert not rest.endswith(b"0\r\n\r\n")
    for text in ("one", "two"):
        assert answer(await demo.post("send", sessionId=session_id, text=text, to="me"))["streams"] == 0
    async with demo.stream(session_id, position) as stream:
        assert "one" in await until(stream, "two")


@pytest.mark.gen_test
async def test_a_cut_with_nothing_to_cut(demo: Demo) -> None:
    assert answer(await demo.post("cut", sessionId=await demo.session())) == {"streams": 0}

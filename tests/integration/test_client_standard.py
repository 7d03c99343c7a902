"""The client's EventSource and Chromium's own side by side: what web-platform-tests/eventsource hold browsers to.

The cases are those that apply to a script; each runs against both, so that a wrong expectation shows.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from browser_support import PATIENCE, open_browser
from tornado_sse.handlers.client import WEB

RUN = """async ([kind, url, wanted]) => {
    const { EventSource: Ours } = await import("/client.js");
    const source = new (kind === "native" ? EventSource : Ours)(url);
    const seen = [];
    await new Promise((resolve) => {
        const keep = ({ type, data, lastEventId }) => {
            seen.push([type, data, lastEventId]);
            if (seen.length === wanted) resolve();
        };
        for (const type of ["message", "test"]) source.addEventListener(type, keep);
        source.addEventListener("error", () => { if (source.readyState === 2) resolve(); });
    });
    const state = source.readyState;
    source.close();
    return [seen, state];
}"""


class Script(BaseHTTPRequestHandler):
    """Says what the query asks for. `last`: the Last-Event-ID that came, as data of another event."""

    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/client.js":
            self._say(200, "text/javascript", (WEB / "client.js").read_bytes())
        elif url.path == "/page":
            self._say(200, "text/html", b"<!doctype html><title>page</title>")
        else:
            self._follow({name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()})

    def _follow(self, script: dict[str, str]) -> None:
        body = script.get("body", "data: x\n\n").encode()
        if "last" in script:
            came = self.headers.get("Last-Event-ID", "").encode("latin-1")
            body = b"retry: 10\ndata: " + (came or b"hello") + b"\n" + body
        if "headers" in script:
            body = f"data: {json.dumps({name.lower(): value for name, value in self.headers.items()})}\n\n".encode()
        self._say(int(script.get("status", "200")), script.get("mime", "text/event-stream"), body, script.get("to"))

    def _say(self, status: int, mime: str, body: bytes, to: str | None = None) -> None:
        self.send_response(status)
        if mime:
            self.send_header("Content-Type", mime)
        if to:
            self.send_header("Location", to)
        self.end_headers()
        self.wfile.write(b"" if status == 204 else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Script) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Page]:
    with open_browser() as browser, new_page(browser) as page:
        page.goto(f"{url}/page")
        yield page


def new_page(browser: Browser) -> Page:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    return page


def query(**script: object) -> str:
    return "/message?" + "&".join(f"{name}={quote(str(value))}" for name, value in script.items())


Seen = list[list[str]]
both = pytest.mark.parametrize("kind", ["native", "ours"])


def run(page: Page, kind: str, path: str, wanted: int) -> tuple[Seen, int]:
    seen, state = page.evaluate(RUN, [kind, path, wanted])
    return seen, state


def messages(*data: str, last: str = "") -> Seen:
    return [["message", each, last] for each in data]


FORMAT: list[tuple[str, str, Seen]] = [
    ("bom", "\ufeffdata:1\n\n\ufeffdata:2\n\ndata:3\n\n", messages("1", "3")),
    ("two boms", "\ufeff\ufeffdata:1\n\ndata:2\n\ndata:3\n\n", messages("2", "3")),
    ("comments", "data:a\n:\0\n:\r\n:" + "long" * 700 + "\rdata:b\n:data:no\r:\ndata:c\n\n", messages("a\nb\nc")),
    ("no empty line at the end", "data:1\n\ndata:2", messages("1")),
    ("data, its forms", "data:\n\ndata\ndata\n\ndata:a\n\n", messages("", "\n", "a")),
    ("lines", "data:a\ndata:b\n\n:\nx:a\n\nx:a\nData:b\n\ndata\n\ndata:end\n\n", messages("a\nb", "", "end")),
    ("event", "event:test\ndata:x\n\ndata:x\n\n", [["test", "x", ""], ["message", "x", ""]]),
    ("an empty event", "event: \ndata:data\n\n", messages("data")),
    ("id persists", "id: 1\ndata:1\n\ndata:2\n\n", messages("1", "2", last="1")),
    ("id changes", "id: 1\ndata:1\n\nid: 2\ndata:2\n\ndata\n\n", messages("1", last="1") + messages("2", "", last="2")),
    ("id resets", "id: 1\ndata:1\n\nid:\ndata:2\n\ndata:3\n\n", messages("1", last="1") + messages("2", "3")),
    ("id with NUL", "id: 1\0\ndata:1\n\n", messages("1")),
    ("leading space", "data:\ta\rdata: \ndata:b\n\n", messages("\ta\n\nb")),
    ("newlines", "data:a\r\ndata\ndata:b\r\n\r", messages("a\n\nb")),
    ("null", "data:\0\n\n\n\n", messages("\0")),
    ("other fields", "data:a\n data\ndata\nother:1\nno colon\ndata_:b\n:more\ndata:b\n\n", messages("a\n\nb")),
    ("NUL in names", "data\0:a\n\0data:b\rdata:c\0d\r\ndata:  e\n\n", messages("c\0d\n e")),
    ("a bogus retry", "retry:20\nretry:9x\ndata:a\n\n", messages("a")),
    ("UTF-8", "data:ok…\n\n", messages("ok…")),
]  # fmt: skip


@both
@pytest.mark.parametrize(("body", "expected"), [row[1:] for row in FORMAT], ids=[row[0] for row in FORMAT])
def test_the_format(page: Page, kind: str, body: str, expected: Seen) -> None:
    assert run(page, kind, query(body=body), len(expected)) == (expected, 1)


@both
@pytest.mark.parametrize("status", [204, 205, 210, 299, 404, 410])
def test_a_status_that_is_the_end(page: Page, kind: str, status: int) -> None:
    assert run(page, kind, query(status=status), 1) == ([], 2)


@both
@pytest.mark.parametrize("mime", ["text/x-bogus", "text/event-stream-x", "text/ event-stream", "bogus", ""])
def test_a_type_that_is_the_end(page: Page, kind: str, mime: str) -> None:
    assert run(page, kind, query(mime=mime), 1) == ([], 2)


@both
@pytest.mark.parametrize("mime", ["text/event-stream;", "Text/Event-Stream", "text/event-stream;charset=utf-8"])
def test_a_type_that_will_do(page: Page, kind: str, mime: str) -> None:
    assert run(page, kind, query(mime=mime, body="data:ok…\n\n"), 1) == (messages("ok…"), 1)


@both
@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_redirects(page: Page, kind: str, status: int) -> None:
    assert run(page, kind, query(status=status, to=query(body="data:there\n\n")), 1) == (messages("there"), 1)


@both
def test_the_last_event_id_goes_back_as_utf_8(page: Page, kind: str) -> None:
    seen, _ = run(page, kind, query(last="", body="id: …\n\n"), 3)
    assert seen == [["message", "hello", "…"], ["message", "…", "…"], ["message", "…", "…"]]


@both
def test_an_id_without_data_goes_back(page: Page, kind: str) -> None:
    seen, _ = run(page, kind, query(last="", body="\nid: 7\n\n"), 2)
    assert [data for _, data, _ in seen] == ["hello", "7"]


@both
def test_what_it_asks_with(page: Page, kind: str) -> None:
    (seen,), _ = run(page, kind, query(headers=""), 1)
    headers: dict[str, Any] = json.loads(seen[1])
    assert (headers["accept"], headers["cache-control"]) == ("text/event-stream", "no-cache")
    assert "authorization" not in headers


EVALUATE = """async ([kind, script]) => {
    const { EventSource: Ours } = await import("/client.js");
    const closed = (S, url, options) => { const s = new S(url, options); s.close(); return s; };
    return await eval(script)(kind === "native" ? EventSource : Ours);
}"""
INTERFACE: list[tuple[str, str, object]] = [
    ("constants", "(S) => [S.CONNECTING, S.OPEN, S.CLOSED]", [0, 1, 2]),
    ("of an instance", "(S) => ((s) => [s.CONNECTING, s.OPEN, s.CLOSED])(closed(S, '/message'))", [0, 1, 2]),
    ("handlers at first", "(S) => { const s = closed(S, '/message'); return [s.onopen, s.onmessage, s.onerror]; }",
     [None, None, None]),
    ("url", "(S) => { const s = closed(S, 'message?a'); return s.url === location.origin + '/message?a'; }", True),
    ("an empty url", "(S) => { const s = closed(S, ''); return s.url === document.documentURI; }", True),
    ("a url object", "(S) => { const s = closed(S, new URL('/x', location)); return s.url.endsWith('/x'); }", True),
    ("a bogus url", "(S) => { try { new S('http://a:99999/'); } catch (e) { return e.name; } }", "SyntaxError"),
    ("withCredentials", "(S) => [{}, { withCredentials: true }].map((o) => closed(S, '/message', o).withCredentials)",
     [False, True]),
    ("the prototype", "(S) => { S.prototype.added = () => true; return closed(S, '/message').added(); }", True),
    ("states", """(S) => new Promise((done) => {
        const s = new S('/message'), states = [s.readyState];
        s.onopen = () => { states.push(s.readyState); s.close(); states.push(s.readyState); done(states); };
    })""", [0, 1, 2]),
    ("closed at once, nothing comes", """(S) => new Promise((done) => {
        const s = new S('/message'), seen = [];
        s.onopen = s.onmessage = s.onerror = ({ type }) => seen.push(type);
        s.close();
        fetch('/message').then(() => fetch('/message')).then(() => done([seen, s.readyState]));
    })""", [[], 2]),
    ("closed in a message, no other comes", """(S) => new Promise((done) => {
        const s = new S('/message?body=data:1%0A%0Adata:2%0A%0A'), seen = [];
        s.onmessage = ({ data }) => { seen.push(data); s.close(); };
        s.onopen = () => fetch('/message').then(() => fetch('/message')).then(() => done(seen));
    })""", ["1"]),
    ("an open event", """(S) => new Promise((done) => {
        const s = new S('/message');
        s.onopen = (e) => { s.close(); done([e.type, 'data' in e, e.bubbles, e.cancelable, e.target === s]); };
    })""", ["open", False, False, False, True]),
    ("an error event, then again", """(S) => new Promise((done) => {
        const s = new S('/message?body=retry:10%0Adata:1%0A%0A'), seen = [];
        s.onmessage = () => { seen.push('message'); if (seen.length > 2) { s.close(); done(seen); } };
        s.onerror = (e) => seen.push([e.type, 'data' in e, e.bubbles, e.cancelable, s.readyState]);
    })""", ["message", ["error", False, False, False, 0], "message"]),
    ("a message event", """(S) => new Promise((done) => {
        const s = new S('/message?body=id:7%0Adata:1%0A%0A');
        s.onmessage = function (e) {
            s.close();
            const { lastEventId, origin, source, bubbles, cancelable } = e;
            const here = this === s && origin === location.origin;
            done([e instanceof MessageEvent, here, lastEventId, source, bubbles, cancelable]);
        };
    })""", [True, True, "7", None, False, False]),
    ("a listener", """(S) => new Promise((done) => {
        const s = new S('/message');
        s.addEventListener('message', function ({ data }) { this.close(); done(data); }, false);
    })""", "x"),
]  # fmt: skip


@both
@pytest.mark.parametrize(("script", "expected"), [row[1:] for row in INTERFACE], ids=[row[0] for row in INTERFACE])
def test_the_interface(page: Page, kind: str, script: str, expected: object) -> None:
    assert page.evaluate(EVALUATE, [kind, script]) == expected


def test_where_it_differs_it_does_not_give_up(page: Page) -> None:
    script = """(S) => new Promise((done) => {
        const s = new S('/message?status=503');
        s.onerror = () => { done(s.readyState); s.close(); };
    })"""
    assert [page.evaluate(EVALUATE, [kind, script]) for kind in ("native", "ours")] == [2, 0]

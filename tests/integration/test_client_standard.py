"""The client's EventSource and Chromium's own side by side: what web-platform-tests/eventsource hold browsers to.

Each case runs against both, so that a wrong expectation shows; those with other origins and in workers are in
`test_client_standard_origins.py`, what takes time in `client/test/`, the back/forward cache in `test_client_tabs.py`.
Not here is what no script can do: trusted events, realms, `document.domain`, the interface's IDL to the letter,
`window.stop()`; nor `fromReadableStream`, which no browser has yet.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from browser_support import open_browser
from script_support import both, evaluate, new_page, query, script_server

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


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with script_server() as url, open_browser() as browser, new_page(browser) as page:
        page.goto(f"{url}/page")
        yield page


Seen = list[list[str]]


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


INTERFACE: list[tuple[str, str, object]] = [
    ("constants", "(S) => [S.CONNECTING, S.OPEN, S.CLOSED]", [0, 1, 2]),
    ("of an instance", "(S) => ((s) => [s.CONNECTING, s.OPEN, s.CLOSED])(closed(S, '/message'))", [0, 1, 2]),
    ("handlers at first", "(S) => { const s = closed(S, '/message'); return [s.onopen, s.onmessage, s.onerror]; }",
     [None, None, None]),
    ("url", "(S) => { const s = closed(S, 'message?a'); return s.url === location.origin + '/message?a'; }", True),
    ("an empty url", "(S) => { const s = closed(S, ''); return s.url === document.documentURI; }", True),
    ("a url object", "(S) => { const s = closed(S, new URL('/x', location)); return s.url.endsWith('/x'); }", True),
    ("a bogus url", "(S) => { try { new S('http://a:99999/'); } catch (e) { return e.name; } }", "SyntaxError"),
    ("what has a text", "(S) => closed(S, { toString: () => '/y' }).url === location.origin + '/y'", True),
    ("arguments", "(S) => S.length", 1),
    ("no http", """(S) => Promise.all(['ftp://a.test/', 'about:blank', 'mailto:a@b.test', 'javascript:0'].map((url) =>
        new Promise((done) => { const s = new S(url); s.onerror = () => done(s.readyState); })))""", [2, 2, 2, 2]),
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
    ("errors up to the end", """(S) => new Promise((done) => {
        const stages = [[200, 'retry:10\\nid:1\\ndata:a\\n\\n'], [200, 'id:2\\ndata:b\\n\\n'], [204, '']];
        const s = new S('/message?stages=' + encodeURIComponent(JSON.stringify(stages))), seen = [];
        s.onmessage = ({ data }) => seen.push(data);
        s.onerror = () => { seen.push(s.readyState); if (s.readyState === 2) done(seen); };
    })""", ["a", 0, "b", 0, 2]),
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
    assert evaluate(page, kind, script) == expected


def test_where_chromium_strays_from_the_standard_a_stream_is_utf_8_whatever_it_says(page: Page) -> None:
    path = query(mime="text/event-stream;charset=windows-1252", body="data:ok…\n\n")
    assert [run(page, kind, path, 1) for kind in ("native", "ours")] == [([], 2), (messages("ok…"), 1)]


def test_where_it_differs_it_does_not_give_up(page: Page) -> None:
    script = """(S) => new Promise((done) => {
        const s = new S('/message?status=503');
        s.onerror = () => { done(s.readyState); s.close(); };
    })"""
    assert [evaluate(page, kind, script) for kind in ("native", "ours")] == [2, 0]

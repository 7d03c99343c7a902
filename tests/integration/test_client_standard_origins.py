"""As `test_client_standard.py`: streams of another origin, with and without cookies, and in workers."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Page

from browser_support import open_browser
from script_support import both, evaluate, new_page, query, script_server

LISTEN = """(S, [url, wanted, options]) => new Promise((done) => {
    const source = new S(url, options), seen = [];
    source.onmessage = ({ data, origin }) => {
        seen.push(data);
        if (seen.length < wanted) return;
        source.close();
        done([seen, new URL(origin).origin === new URL(source.url).origin]);
    };
})"""
FIRST_ERROR = """(S, [url, options]) => new Promise((done) => {
    const source = new S(url, options);
    source.onmessage = source.onopen = ({ type }) => done(type);
    source.onerror = (event) => { done([source.readyState, 'data' in event]); source.close(); };
})"""


class Urls(NamedTuple):
    """Of two servers, which are two origins; pages come from the first."""

    here: str
    elsewhere: str


@pytest.fixture(scope="module")
def urls() -> Iterator[Urls]:
    with script_server() as here, script_server() as elsewhere:
        yield Urls(here, elsewhere)


@pytest.fixture(scope="module")
def page(urls: Urls) -> Iterator[Page]:
    with open_browser() as browser, new_page(browser) as page:
        page.goto(f"{urls.here}/page")
        yield page


@both
@pytest.mark.parametrize(("more", "options"), [({}, {}), ({"credentials": ""}, {"withCredentials": True})])
def test_another_origin_that_allows_it(
    page: Page, kind: str, urls: Urls, more: dict[str, str], options: dict[str, bool]
) -> None:
    url = urls.elsewhere + query(allow=urls.here, body="retry:10\ndata:a\n\n", **more)
    assert evaluate(page, kind, LISTEN, [url, 2, options]) == [["a", "a"], True]


@both
def test_a_redirect_to_another_origin(page: Page, kind: str, urls: Urls) -> None:
    url = urls.here + query(status=302, to=urls.elsewhere + query(allow=urls.here, body="data:there\n\n"))
    seen, says_what_was_asked = evaluate(page, kind, LISTEN, [url, 1, {}])
    assert (seen, says_what_was_asked) == (["there"], kind == "ours")


@both
@pytest.mark.parametrize("with_cookies", [True, False, None])
def test_cookies_go_along_if_asked_for(page: Page, kind: str, urls: Urls, with_cookies: bool | None) -> None:
    url = urls.elsewhere + query(allow=urls.here, credentials="", cookie=f"of-{kind}-{with_cookies}")
    options = {} if with_cookies is None else {"withCredentials": with_cookies}
    second = "with it" if with_cookies else "without it"
    assert evaluate(page, kind, LISTEN, [url, 2, options]) == [["without it", second], True]


@pytest.mark.parametrize("last_id", ["e5p3n<3k0k0s", "a" * 255, "abc"], ids=["unsafe", "long", "plain"])
def test_where_it_differs_every_id_gets_a_preflight(page: Page, urls: Urls, last_id: str) -> None:
    """By the standard the first two do; in Chromium none."""
    for kind, asked in (("native", "not asked"), ("ours", "asked before")):
        url = urls.elsewhere + query(allow=urls.here, last="", body=f"id: {last_id}\n\n", preflights=kind)
        assert evaluate(page, kind, LISTEN, [url, 4, {}]) == [["hello", "not asked", last_id, asked], True]


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ({}, {}),
        ({"allow": "http://example.org"}, {}),
        ({"allow": ""}, {}),
        ({"allow": "{here}"}, {"withCredentials": True}),
    ],
    ids=["not allowed", "another allowed", "nobody allowed", "not with cookies"],
)
def test_where_it_differs_a_refusal_looks_like_a_network_that_fails(
    page: Page, urls: Urls, script: dict[str, str], options: dict[str, bool]
) -> None:
    url = urls.elsewhere + query(**{name: value.format(here=urls.here) for name, value in script.items()})
    assert evaluate(page, "native", FIRST_ERROR, [url, options]) == [2, False]
    assert evaluate(page, "ours", FIRST_ERROR, [url, options]) == [0, False]


@both
@pytest.mark.parametrize("worker", ["new Worker(url, options)", "new SharedWorker(url, options).port"])
def test_in_a_worker(page: Page, kind: str, urls: Urls, worker: str) -> None:
    script = f"""(kind) => new Promise((done) => {{
        const [url, options] = ["/deep/worker.js", {{ type: "module" }}];
        const worker = {worker};
        worker.onmessage = ({{ data }}) => done(data);
        worker.postMessage([kind, "message?body=data:hello%0A%0A"]);
    }})"""
    url = f"{urls.here}/deep/message?body=data:hello%0A%0A"
    assert page.evaluate(script, kind) == [[0, 1, 2], url, "hello", True]

"""Event streams through the proxies, set up as in deploy/proxies, to a client and to Chromium."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from browser_support import OPEN_SOURCE, Server, open_browser, run_server
from proxy_support import KINDS, PATIENCE, Proxy, proxy

EVERY_PROXY = pytest.mark.parametrize("name", KINDS)
TABS, STREAMS = 2, 10
KEEPALIVE = 0.25

Run = Callable[..., Proxy]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with run_server("--trusted-proxies=127.0.0.1") as server:
        yield server


@pytest.fixture
def need_proxy() -> Callable[[str], None]:
    """Skip if its program is missing; in CI, fail."""

    def find(name: str) -> None:
        if shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin") is None:
            reason = f"the program {name} is not installed"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)

    return find


@contextmanager
def before(server: Server, name: str, folder: Path, **options: Any) -> Iterator[Proxy]:
    public, admin = urlsplit(server.url).port, server._admin.base_url.port
    assert public and admin  # noqa: PT018 - for the type checker
    with proxy(name, folder, (public, admin), **options) as running:
        yield running


class Stream:
    """An open stream, read line by line."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.headers["content-type"] == "text/event-stream"
        self._lines = response.iter_lines()
        self.comments = 0

    def until(self, field: str) -> str:
        """Read on to the next line of that field; return its value."""
        for line in self._lines:
            name, _, value = line.partition(": ")
            self.comments += line == ":"
            if name == field:
                return value
        raise AssertionError(f"the stream ended before {field}")

    def outlast(self, keepalives: int) -> None:
        """Read on until so many more comments came."""
        for _ in range(keepalives):
            assert next(line for line in self._lines if line) == ":"


@contextmanager
def stream(running: Proxy, session: str, after: str | None = None) -> Iterator[Stream]:
    headers = {"Last-Event-ID": after} if after else {}
    url = f"{running.url}/sse/connect/{session}"
    with (
        httpx.Client(verify=False, trust_env=False, timeout=PATIENCE) as client,  # noqa: S501 - our own certificate
        client.stream("GET", url, headers=headers | {"X-Forwarded-For": "192.0.2.7"}) as response,
    ):
        yield Stream(response)


@EVERY_PROXY
def test_each_event_arrives_at_once(
    name: str, server: Server, tmp_path: Path, need_proxy: Callable[[str], None]
) -> None:
    need_proxy(name)
    with before(server, name, tmp_path) as running, stream(running, server.mint("at once")) as opened:
        first = opened.until("id")
        for number in range(3):  # each is read before the next is sent, and no keepalive pushes it
            server.publish("at once", number)
            assert opened.until("data") == str(number)
        assert opened.until("id") != first
        assert opened.comments == 0


@EVERY_PROXY
@pytest.mark.slow
def test_an_idle_stream_outlives_the_idle_times(name: str, tmp_path: Path, need_proxy: Callable[[str], None]) -> None:
    need_proxy(name)
    with (
        run_server(f"--keepalive={KEEPALIVE}") as server,
        before(server, name, tmp_path, idle="1s") as running,
        stream(running, server.mint("idle")) as opened,
    ):
        opened.until("id")
        opened.outlast(10)
        server.publish("idle", "still here")
        assert opened.until("data") == "still here"


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.reload])
def test_a_reload_keeps_streams_and_who_comes_back_resumes(
    name: str, server: Server, tmp_path: Path, need_proxy: Callable[[str], None]
) -> None:
    need_proxy(name)
    session = server.mint("reload")
    with before(server, name, tmp_path) as running:
        with stream(running, session) as opened:
            opened.until("id")
            server.publish("reload", "before")
            opened.until("data")
            seen = opened.until("id")
            running.reload()
            server.publish("reload", "across")
            assert opened.until("data") == "across"
        server.publish("reload", "missed")
        with stream(running, session, seen) as again:
            assert [again.until("data"), again.until("data")] == ["across", "missed"]
            server.publish("reload", "after")
            assert again.until("data") == "after"


@EVERY_PROXY
@pytest.mark.slow
def test_two_tabs_of_a_browser_with_ten_streams_each(
    name: str, server: Server, tmp_path: Path, need_proxy: Callable[[str], None]
) -> None:
    need_proxy(name)
    with (
        before(server, name, tmp_path) as running,
        open_browser() as browser,
        browser.new_context(ignore_https_errors=True) as context,
    ):
        tabs = []
        for _ in range(TABS):
            page = context.new_page()
            page.goto(f"{running.url}/healthz")
            protocol = page.evaluate("() => performance.getEntriesByType('navigation')[0].nextHopProtocol")
            assert protocol == "h2"
            url = f"{running.url}/sse/connect/{server.mint('tabs')}"
            streams = [page.evaluate_handle(OPEN_SOURCE, [url, ["message"], False]) for _ in range(STREAMS)]
            tabs += [(page, each) for each in streams]
        for page, each in tabs:
            page.wait_for_function("(tab) => tab.opened === 1", arg=each, timeout=PATIENCE * 1000)
        server.publish("tabs", "to all of them")
        for page, each in tabs:
            page.wait_for_function("(tab) => tab.events.length === 1", arg=each, timeout=PATIENCE * 1000)
        assert len(tabs) == TABS * STREAMS

"""Pages in Chromium that hold a stream of the browser client, and a proxy between them and the server that fails."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import BrowserContext, JSHandle, Page

from browser_support import PATIENCE
from process_support import Process
from server_support import bearer, token
from tcp_proxy import TcpProxy, tcp_proxy

KEEPALIVE = 1.0
SETTINGS: dict[str, object] = {"retry": 0.2, "keepalive": KEEPALIVE, "history_size": 20_000, "jwt_leeway": 0}
"""Of servers for these tests: quick, and with a history for all that is missed."""

OPEN = """async ([options, tokens]) => {
    const { connect } = await import("/sse/client.js");
    const tab = { events: [], gaps: [], states: [], tokens, asked: 0 };
    const bearer = () => tab.tokens[Math.min(tab.asked++, tab.tokens.length - 1)];
    tab.stream = connect({
        ...options,
        token: tokens.length ? bearer : undefined,
        onEvent: ({ type, data, lastEventId }) => tab.events.push({ type, data, lastEventId }),
        refetch: (gap) => tab.gaps.push(gap),
    });
    tab.stream.addEventListener("statechange", () => tab.states.push(tab.stream.state));
    globalThis.tab = tab;
    return tab;
}"""


@dataclass
class Link:
    """A proxy to the server, run by a thread of its own: where pages come from, and what they connect to."""

    proxy: TcpProxy
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    def lead_to(self, url: str) -> None:
        self.proxy.target = urlsplit(url).port or 0

    def stall(self) -> None:
        self._call(self.proxy.stall)

    def flow(self) -> None:
        self._call(self.proxy.flow)

    def cut(self) -> None:
        self._run(self.proxy.cut())

    def rest(self, seconds: float) -> None:
        """Let time go by while something stands still."""
        self._run(asyncio.sleep(seconds))

    def _call(self, act: Callable[[], None]) -> None:
        async def call() -> None:
            act()

        self._run(call())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)


@contextmanager
def open_link(url: str) -> Iterator[Link]:
    """Run a proxy to a server."""
    loop = asyncio.new_event_loop()
    links: list[Link] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with tcp_proxy(urlsplit(url).port or 0) as proxy:
            links.append(Link(proxy, loop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield links[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.close()


@dataclass
class Backend:
    """What publishes to a server, and reads its metrics."""

    process: Process
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=PATIENCE, trust_env=False))

    def close(self) -> None:
        self.http.close()

    def publish(self, to: object, *data: object, event: str | None = None) -> list[str]:
        """Publish to a user by name, or to a `to`; return the positions."""
        target = {"user": to} if isinstance(to, str) else to
        items = [{"to": target, "data": item} | ({"event": event} if event else {}) for item in data]
        answer = self.http.post(f"{self.process.url}/sse/publish", json=items, headers=bearer("backend"))
        return [receipt["position"] for receipt in answer.raise_for_status().json()["receipts"]]

    def disconnect(self, user: str, session: str) -> None:
        url = f"{self.process.url}/sse/disconnect/{session}"
        self.http.delete(url, headers=bearer(user)).raise_for_status()

    def metric(self, sample: str) -> float:
        """Read a sample of the admin listener, labels included; 0 if there is none."""
        lines = self.http.get(f"{self.process.admin_url}/metrics").raise_for_status().text.splitlines()
        found = (line.rpartition(" ") for line in lines)
        return next((float(value) for name, _, value in found if name == f"tornado_sse_{sample}"), 0.0)


@dataclass(eq=False)
class Tab:
    """A page with a stream."""

    page: Page
    link: Link
    handle: JSHandle | None = None

    def connect(self, user: str, tokens: Sequence[str] | None = None, **options: object) -> "Tab":
        """Open a stream as that user, with these tokens one after the other, and the last ever after."""
        self.page.goto(f"{self.link.url}/sse/client.js")  # a page that may be kept: all others are no-store
        settings = {"sessionId": f"session-of-{user}", "keepalive": KEEPALIVE * 1000} | options
        self.handle = self.page.evaluate_handle(OPEN, [settings, [token(user)] if tokens is None else tokens])
        return self

    def opened(self, user: str, **options: Any) -> "Tab":
        return self.connect(user, **options).until("tab.stream.state === 'open' && tab.stream.position")

    def freeze(self) -> None:
        """Tell the page that it is frozen. Chromium freezes no page that is seen, and without a screen all are."""
        self.page.evaluate("document.dispatchEvent(new Event('freeze')), undefined")

    def thaw(self) -> None:
        self.page.evaluate("document.dispatchEvent(new Event('resume')), undefined")

    def go_elsewhere(self) -> None:
        """Have the browser put the page into its back/forward cache."""
        self.page.goto(f"{self.link.url}/healthz")

    def come_back(self) -> None:
        """Take it out again. A page that was kept tells of no load; one that was loaded anew has no `tab`."""
        self.page.evaluate("setTimeout(() => history.back())")
        self.page.wait_for_function("globalThis.tab")
        self.handle = self.page.evaluate_handle("globalThis.tab")

    def until(self, condition: str, patience: float = PATIENCE) -> "Tab":
        """Wait until an expression on `tab` holds."""
        self.page.wait_for_function(f"(tab) => {condition}", arg=self.handle, timeout=patience * 1000, polling=20)
        return self

    def read(self, expression: str) -> Any:
        assert self.handle is not None
        return self.handle.evaluate(f"(tab) => {expression}")

    def has(self, *data: str) -> None:
        """Wait until the last of these came, and hold all that came against them."""
        self.until(f"tab.events.some(({{ data }}) => data === {data[-1]!r})", 3 * PATIENCE)
        assert self.data() == list(data)

    def data(self) -> list[str]:
        got: list[str] = self.read("tab.events.filter(({ type }) => type === 'message').map(({ data }) => data)")
        return got

    def role(self) -> str:
        return str(self.read("tab.stream.role"))


def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds that no page knows of."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def leader_of(tabs: Sequence[Tab]) -> Tab:
    """Wait until one of them leads, and one alone."""
    until(lambda: [tab.role() for tab in tabs].count("leader") == 1)
    return next(tab for tab in tabs if tab.role() == "leader")


@contextmanager
def open_pages(context: BrowserContext, link: Link, count: int) -> Iterator[list[Tab]]:
    """Open blank pages of one browser profile, which share what an origin shares."""
    tabs = [Tab(context.new_page(), link) for _ in range(count)]
    for tab in tabs:
        tab.page.set_default_timeout(3 * PATIENCE * 1000)
    yield tabs

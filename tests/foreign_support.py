"""Pages of foreign origins in Chromium, and what they may try: each attempt returns what it got, "" being nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Frame, Page

FETCH = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options);
        const { value } = await answer.body?.getReader().read() ?? {};
        return new TextDecoder().decode(value);
    } catch {
        return "";
    }
}"""

SOURCE = """([url, withCredentials]) => new Promise((resolve) => {
    const source = new EventSource(url, { withCredentials });
    source.onopen = () => resolve("opened");
    source.onerror = () => { source.close(); resolve(""); };
})"""

ELEMENT = """([url, name, attribute, more]) => new Promise((resolve) => {
    const element = document.createElement(name);
    element.onerror = () => resolve("");
    element.onload = () => {
        try {
            resolve(element.sheet?.cssRules.length || element.contentDocument?.documentElement.outerHTML
                || ["SCRIPT", "IMG"].includes(name) ? "loaded" : "");
        } catch {
            resolve("");
        }
    };
    Object.assign(element, more);
    element[attribute] = url;
    document.body.append(element);
})"""

FORM = """([url, method, enctype, fields]) => new Promise((resolve) => {
    const frame = Object.assign(document.createElement("iframe"), { name: `frame-${Math.random()}` });
    const form = Object.assign(document.createElement("form"), { action: url, method, enctype, target: frame.name });
    for (const [name, value] of Object.entries(fields)) {
        form.append(Object.assign(document.createElement("input"), { name, value }));
    }
    document.body.append(frame, form);
    frame.onload = () => {
        try {
            resolve(frame.contentDocument?.documentElement.outerHTML || "");
        } catch {
            resolve("");
        }
    };
    form.submit();
})"""

FRAME = """([url, name, attribute]) => new Promise((resolve) => {
    const element = Object.assign(document.createElement(name), { [attribute]: url });
    element.onload = element.onerror = () => resolve("settled");
    document.body.append(element);
})"""

BEACON = """([url, body]) => { navigator.sendBeacon(url, body); return ""; }"""

BLANK = "<!doctype html><title>foreign</title><body>"


@dataclass(frozen=True)
class Attempt:
    """JavaScript that goes to a path of the victim's server, with what else it takes."""

    script: str
    path: str
    more: tuple[object, ...] = ()
    admin: bool = False


@dataclass
class Foreign:
    """A web server of somebody else. `asked` has a path and the cookie for each request."""

    port: int
    asked: list[tuple[str, str]]

    def url(self, host: str) -> str:
        return f"http://{host}:{self.port}"


@contextmanager
def foreign_server() -> Iterator[Foreign]:
    """Serve blank pages, at any path, and with leave for everybody to read them."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Cookie", "")))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(BLANK.encode())

        do_POST = do_GET  # noqa: N815 - same

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Foreign(server.server_port, asked)
        finally:
            server.shutdown()
            thread.join()


def another_site(page: Page, foreign: Foreign, _: Path) -> Frame:
    """Another site: cookies that are not for all sites stay at home."""
    page.goto(foreign.url("localhost"))
    return page.main_frame


def another_port(page: Page, foreign: Foreign, _: Path) -> Frame:
    """Another port of the same host: the same site, so that all cookies go along."""
    page.goto(foreign.url("127.0.0.1"))
    return page.main_frame


def sandboxed(page: Page, foreign: Foreign, _: Path) -> Frame:
    """A frame whose origin is `null`."""
    return _framed(page, foreign, f'sandbox="allow-scripts allow-forms" srcdoc="{BLANK}"')


def data_url(page: Page, foreign: Foreign, _: Path) -> Frame:
    """The same, by another way."""
    return _framed(page, foreign, f'src="data:text/html,{BLANK}"')


def local_file(page: Page, _: Foreign, folder: Path) -> Frame:
    """A file that somebody downloaded and opened; its origin is `null`, too."""
    file = folder / "page.html"
    file.write_text(BLANK)
    page.goto(file.as_uri())
    return page.main_frame


def _framed(page: Page, foreign: Foreign, attributes: str) -> Frame:
    page.goto(foreign.url("127.0.0.1"))
    with page.expect_event("framenavigated"):
        page.evaluate("(html) => { document.body.innerHTML = html; }", f"<iframe {attributes}></iframe>")
    (frame,) = page.main_frame.child_frames
    frame.wait_for_load_state()
    return frame


PAGES = (another_port, sandboxed, another_site, data_url, local_file)

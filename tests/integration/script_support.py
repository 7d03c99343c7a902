"""A server that says what the query asks for, and its pages, with the client's EventSource beside Chromium's own."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from browser_support import PATIENCE
from tornado_sse.handlers.client import WEB

both = pytest.mark.parametrize("kind", ["native", "ours"])

WORKER = b"""import { EventSource as Ours } from "/client.js";
const serve = (port) => {
    port.onmessage = ({ data: [kind, url] }) => {
        const source = new (kind === "native" ? EventSource : Ours)(url);
        const states = [source.readyState];
        source.onopen = () => states.push(source.readyState);
        source.onmessage = ({ data, origin }) => {
            source.close();
            states.push(source.readyState);
            port.postMessage([states, source.url, data, origin === location.origin]);
        };
    };
};
if (globalThis.DedicatedWorkerGlobalScope) serve(globalThis);
else globalThis.onconnect = ({ ports: [port] }) => serve(port);
"""


class Script(BaseHTTPRequestHandler):
    """Says what the query asks for.

    `stages`: a status and a body for each Last-Event-ID from 0 on. `last`: the one that came, as data of another event.
    `allow`: the origin that may read it; `credentials`: with cookies. `preflights`: whether one came, as more data.
    `cookie`: whether it came; it is set.
    """

    protocol_version = "HTTP/1.0"
    preflights: set[str] = set()  # noqa: RUF012 - an instance serves one request only

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/client.js":
            self._say(200, "text/javascript", (WEB / "client.js").read_bytes())
        elif url.path == "/page":
            self._say(200, "text/html", b"<!doctype html><title>page</title>")
        elif url.path.endswith("/worker.js"):
            self._say(200, "text/javascript", WORKER)
        else:
            self._follow(self._script())

    def do_OPTIONS(self) -> None:
        self.preflights.add(self.path)
        self._say(204, "", b"", {"Access-Control-Allow-Headers": "Last-Event-ID", **allowed(self._script())})

    def _script(self) -> dict[str, str]:
        return {
            name: values[-1] for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()
        }

    def _follow(self, script: dict[str, str]) -> None:
        status, body = int(script.get("status", "200")), script.get("body", "data: x\n\n").encode()
        if "stages" in script:
            status, text = json.loads(script["stages"])[int(self.headers.get("Last-Event-ID", "0"))]
            body = text.encode()
        if "last" in script:
            came = self.headers.get("Last-Event-ID", "").encode("latin-1")
            body = b"retry: 10\ndata: " + (came or b"hello") + b"\n" + body
        if "headers" in script:
            body = f"data: {json.dumps({name.lower(): value for name, value in self.headers.items()})}\n\n".encode()
        if "preflights" in script:
            body += f"data: {'asked before' if self.path in self.preflights else 'not asked'}\n\n".encode()
        headers = allowed(script) | ({"Location": script["to"]} if "to" in script else {})
        if "cookie" in script:
            seen = script["cookie"] in self.headers.get("Cookie", "")
            body = f"retry: 10\ndata: {'with' if seen else 'without'} it\n\n".encode()
            headers["Set-Cookie"] = f"{script['cookie']}=1"
        self._say(status, script.get("mime", "text/event-stream"), body, headers)

    def _say(self, status: int, mime: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        if mime:
            self.send_header("Content-Type", mime)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        with suppress(ConnectionError):  # it closed its source meanwhile
            self.end_headers()
            self.wfile.write(b"" if status == 204 else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def allowed(script: dict[str, str]) -> dict[str, str]:
    headers = {"Access-Control-Allow-Origin": script["allow"]} if "allow" in script else {}
    return headers | ({"Access-Control-Allow-Credentials": "true"} if "credentials" in script else {})


@contextmanager
def script_server() -> Iterator[str]:
    """Run one; an origin of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Script) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(PATIENCE)


def new_page(browser: Browser) -> Page:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    return page


def query(**script: object) -> str:
    return "/message?" + "&".join(f"{name}={quote(str(value))}" for name, value in script.items())


EVALUATE = """async ([kind, script, more]) => {
    const { EventSource: Ours } = await import("/client.js");
    const closed = (S, url, options) => { const s = new S(url, options); s.close(); return s; };
    return await eval(script)(kind === "native" ? EventSource : Ours, more);
}"""


def evaluate(page: Page, kind: str, script: str, more: object = None) -> Any:
    """Call a function of the page with the class of that kind, and more."""
    return page.evaluate(EVALUATE, [kind, script, more])

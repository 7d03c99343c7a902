"""Chromium, a server in a process of its own, and pages that hold an EventSource."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from tornado_sse import tokens

SECRET = "a secret for the tests, made of 40 bytes"
PATIENCE = 10.0
STARTING = 60.0
"""Seconds that a server may take until it listens, on a machine that has other things to do."""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str:
    """Find the Chromium of this machine; without one, skip, but fail where the tests must run."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium, and CI must have one")
        pytest.skip("no Chromium on this machine")
    return path


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium."""
    path = find_chromium()
    expect.set_options(timeout=PATIENCE * 1000)
    kept = ["--disable-back-forward-cache"]  # Playwright's own flag: pages left are to be kept, as everywhere else
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=FLAGS, ignore_default_args=kept) as browser,
    ):
        yield browser


class Server:
    """A running server, spoken to as a backend would."""

    def __init__(self, url: str, admin_url: str) -> None:
        self.url = url
        self.admin_url = admin_url
        self._http = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)
        self._admin = httpx.Client(base_url=admin_url, timeout=PATIENCE, trust_env=False)
        self._auth = {"Authorization": f"Bearer {self.token('backend', ['publish', 'sessions'])}"}

    def token(self, user: str, scopes: Sequence[str] = (), channels: Sequence[str] = ()) -> str:
        return tokens.sign(SECRET, user=user, scopes=scopes, channels=channels, ttl=600, now=time.time())

    def mint(self, user: str, *channels: str) -> str:
        body = {"userId": user, "channels": channels}
        answer = self._http.post("/sse/sessions", json=body, headers=self._auth).raise_for_status()
        return str(answer.json()["sessionId"])

    def publish(self, user: str, *data: object, event: str | None = None) -> list[dict[str, Any]]:
        items = [{"to": {"user": user}, "data": item} | ({"event": event} if event else {}) for item in data]
        receipts = self._http.post("/sse/publish", json=items, headers=self._auth).raise_for_status().json()["receipts"]
        assert not [receipt for receipt in receipts if "error" in receipt]
        return list(receipts)

    def cut(self, session_id: str) -> int:
        """Break the session's connections as a network would; return how many there were."""
        headers = {"Origin": self.url}
        answer = self._http.post("/demo/cut", json={"sessionId": session_id}, headers=headers).raise_for_status()
        return int(answer.json()["streams"])

    def disconnect(self, session_id: str) -> None:
        self._http.delete(f"/sse/disconnect/{session_id}").raise_for_status()

    def metric(self, sample: str) -> float:
        """Read a sample of the admin listener by its full name, labels included; 0 if there is none."""
        lines = self._admin.get("/metrics").raise_for_status().text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), 0.0)

    def close(self) -> None:
        self._http.close()
        self._admin.close()


@contextmanager
def run_server(*flags: str) -> Iterator[Server]:
    """Run `tornado-sse serve --dev` on free ports until the end, which must be a clean one."""
    command = [sys.executable, "-m", "tornado_sse", "serve", "--dev", "--port=0", "--admin-port=0"]
    command += ["--log-format=json", "--drain-time=0", *flags]
    env = {name: value for name, value in os.environ.items() if not name.startswith("TORNADO_SSE_")}
    env["TORNADO_SSE_JWT_SECRET"] = SECRET
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        log: list[str] = []
        ready = threading.Event()
        reader = threading.Thread(target=_collect, args=(process.stderr, log, ready))
        reader.start()
        try:
            assert ready.wait(STARTING), "".join(log)
            listening = next((row for row in map(_row, log) if row.get("event") == "listening"), None)
            assert listening is not None, "".join(log)
            with closing(Server(listening["public"], listening["admin"])) as server:
                yield server
        finally:
            if not any(row.get("event") == "draining" for row in map(_row, log)):  # asking twice would cut it short
                process.send_signal(signal.SIGTERM)
            _wait(process)
            reader.join(PATIENCE)
    assert (process.returncode, [row for row in map(_row, log) if row.get("level") == "error"]) == (0, [])


def _wait(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def _collect(lines: Iterator[str], log: list[str], ready: threading.Event) -> None:
    for line in lines:
        log.append(line)
        if _row(line).get("event") == "listening":
            ready.set()
    ready.set()  # it ended: nobody need wait longer


def _row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


OPEN_SOURCE = """([url, names, withCredentials]) => {
    const source = new EventSource(url, { withCredentials });
    const tab = { source, opened: 0, errors: 0, events: [] };
    const keep = ({ type, data, lastEventId }) => tab.events.push({ type, data, lastEventId });
    source.onopen = () => { tab.opened += 1; };
    source.onerror = () => { tab.errors += 1; };
    names.forEach((name) => source.addEventListener(name, keep));
    return tab;
}"""
NAMES = ["message", "order", "stream-gap", "stream-closing", "stream-expiring"]


@dataclass
class Tab:
    """A page, and what the browser's own EventSource told it."""

    page: Page
    requests: list[Request] = field(default_factory=list)

    def listen(self, url: str, *, credentials: bool = False) -> None:
        """Open an EventSource."""
        self.page.on("request", lambda request: self.requests.append(request) if "/sse/" in request.url else None)
        self._handle = self.page.evaluate_handle(OPEN_SOURCE, [url, NAMES, credentials])

    def until(self, condition: str) -> None:
        """Wait until an expression on `tab` holds."""
        self.page.wait_for_function(f"(tab) => {condition}", arg=self._handle, timeout=PATIENCE * 1000)

    def events(self) -> list[dict[str, str]]:
        return list(self._handle.evaluate("(tab) => tab.events"))

    def data(self, event: str = "message") -> list[str]:
        return [each["data"] for each in self.events() if each["type"] == event]

    def ready_state(self) -> int:
        return int(self._handle.evaluate("(tab) => tab.source.readyState"))

    def sent_header(self, number: int, name: str) -> str | None:
        """Return a header of the EventSource's request of that number."""
        return self.requests[number].header_value(name)


@contextmanager
def open_tab(browser: Browser, page_url: str, cookies: list[Any] | None = None) -> Iterator[Tab]:
    """Open a blank page of that server in a browser profile of its own."""
    with browser.new_context() as context:
        context.add_cookies(cookies or [])
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{page_url}/healthz")
        yield Tab(page)

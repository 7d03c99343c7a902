"""The console in Chromium, as people use it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from browser_support import Server, open_browser, run_server
from tornado_sse.log import fingerprint

AXE = Path(__file__).parents[1] / "clients" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with run_server() as server:
        yield server


class Console:
    """The page as a person sees it."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server
        self.problems: list[str] = []
        self.urls: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._hear)
        page.on("request", lambda request: self.urls.append(request.url))

    def _hear(self, message: ConsoleMessage) -> None:
        if "Failed to load resource" not in message.text and "ERR_" not in message.text:  # what a refusal looks like
            self.problems.append(message.text)

    def sign_in(self, *scopes: str) -> None:
        """Follow a link like that of dev mode."""
        self.page.goto(f"{self.server.admin_url}/console#token={self.server.token('ops', scopes or ['admin'])}")

    def sees_state(self, text: str | re.Pattern[str]) -> None:
        expect(self.page.locator("#state")).to_have_text(text)

    def row(self, user: str) -> Locator:
        return self.page.get_by_role("row").filter(has_text=user)

    def button(self, name: str | re.Pattern[str]) -> Locator:
        return self.page.get_by_role("button", name=name)

    def search(self, text: str) -> None:
        self.page.get_by_role("searchbox").fill(text)


@contextmanager
def opened(browser: Browser, server: Server, color_scheme: str = "light") -> Iterator[Console]:
    with browser.new_context(color_scheme=color_scheme) as context:  # type: ignore[arg-type]  # one of its literals
        console = Console(context.new_page(), server)
        yield console
        assert console.problems == []
        assert all(url.startswith((server.admin_url, "data:")) for url in console.urls)


@pytest.fixture
def console(browser: Browser, server: Server) -> Iterator[Console]:
    with opened(browser, server) as console:
        console.sign_in()
        console.sees_state("Live")
        yield console


@contextmanager
def streams(server: Server, user: str, *sessions: str) -> Iterator[list[Iterator[str]]]:
    """Hold streams open; gives the lines of each."""
    headers = {"Authorization": f"Bearer {server.token(user)}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=10, trust_env=False) as client:
        opened = [client.stream("GET", f"/sse/connect/{session}") for session in sessions]
        responses = [each.__enter__() for each in opened]
        yield [response.iter_lines() for response in responses]
        for response in responses:
            response.close()


def test_a_link_signs_in_and_leaves_no_token_behind(console: Console) -> None:
    assert console.page.url == f"{console.server.admin_url}/console"
    console.page.reload()
    console.sees_state("Live")
    console.button("Sign out").click()
    console.sees_state("Not signed in")
    console.page.reload()
    console.sees_state("Not signed in")
    assert console.page.evaluate("[sessionStorage.length, document.cookie]") == [0, ""]


def test_a_token_that_may_not_is_told_why(browser: Browser, server: Server) -> None:
    with opened(browser, server) as console:
        console.sign_in("subscribe", "publish")
        expect(console.page.get_by_role("alert").first).to_have_text("This token may not: it lacks the scope admin.")
        console.page.get_by_label("Token").fill("nonsense")
        console.page.keyboard.press("Enter")
        expect(console.page.get_by_role("alert").first).to_contain_text("JWS")
        console.page.get_by_label("Token").fill(server.token("ops", ["admin"]))
        console.page.keyboard.press("Enter")
        console.sees_state("Live")


def test_figures_are_live(console: Console) -> None:
    panel = console.page.locator("#panel-streams")
    before = console.server.metric("tornado_sse_open_streams")
    with streams(console.server, "figures", "s1", "s2"):
        expect(panel.locator(".value")).to_have_text(str(int(before) + 2))
        expect(panel.get_by_role("img")).to_have_accessible_name(re.compile("Open streams: between .* five minutes"))
        console.server.publish("figures", "one", "two")
        expect(console.page.locator("#panel-delivered .value")).not_to_have_text("0")
    expect(console.page.locator("#panel-closed .bars")).to_contain_text("client gone")


def test_a_session_is_found_and_disconnected_by_keyboard(console: Console) -> None:
    with streams(console.server, "keyboard-user", "s1", "s2") as (first, second):
        console.page.keyboard.press("/")
        console.page.keyboard.type("KEYBOARD-")
        expect(console.page.locator("#found")).to_have_text("2 match")
        short = fingerprint("s1")
        console.button(f"Disconnect keyboard-user, session {short}").focus()
        console.page.keyboard.press("Enter")
        expect(console.page.get_by_role("dialog", name="Disconnect keyboard-user")).to_be_visible()
        expect(console.button("Cancel")).to_be_focused()
        console.page.keyboard.press("Escape")
        console.button(f"Disconnect keyboard-user, session {short}").focus()
        console.page.keyboard.press("Enter")
        console.page.keyboard.press("Tab")
        console.page.keyboard.press("Enter")
        expect(console.page.locator("#found")).to_have_text("1 match")
        expect(console.page.get_by_role("searchbox")).to_be_focused()  # the button that was, is gone
        assert 'data: {"reason": "disconnected", "reconnect": false}' in list(first)
        console.server.publish("keyboard-user", "still here")
        assert "data: still here" in second


def test_a_user_is_disconnected(console: Console) -> None:
    with streams(console.server, "whole-user", "s1", "s2") as both:
        console.search("whole-user")
        console.row("whole-user").first.get_by_role("button").click()
        console.page.get_by_label("All sessions of whole-user").check()
        console.button("Disconnect").last.click()
        expect(console.page.get_by_text("No open stream matches.")).to_be_visible()
        assert all("event: stream-closing" in list(lines) for lines in both)


def test_the_table_is_sorted(console: Console) -> None:
    with streams(console.server, "sort-b", "s1"), streams(console.server, "sort-a", "s2"):
        console.search("sort-")
        console.button("User").click()
        expect(console.page.get_by_role("columnheader", name="User")).to_have_attribute("aria-sort", "ascending")
        expect(console.page.locator("#rows td.user")).to_have_text(["sort-a", "sort-b"])
        console.button("User").click()
        expect(console.page.locator("#rows td.user")).to_have_text(["sort-b", "sort-a"])


def test_a_test_message(console: Console) -> None:
    with streams(console.server, "reader", "s1") as (lines,):
        console.page.get_by_label("Name").fill("reader")
        console.page.get_by_label("Event").fill("note")
        console.page.get_by_label("Data").fill("<b>hello</b>")
        console.button("Send").click()
        expect(console.page.locator("#sent")).to_contain_text("to 1 open stream.")
        assert "event: note" in lines
        assert "data: <b>hello</b>" in lines
        console.page.get_by_label("Event").fill("stream-x")
        console.button("Send").click()
        expect(console.page.locator("#sent")).to_contain_text("must not begin with stream-")


def test_names_are_shown_as_they_are(console: Console) -> None:
    user = "<img src=x onerror=alert(1)>"
    with streams(console.server, user, "s1"):
        console.search("<img")
        expect(console.page.locator("#rows td.user")).to_have_text(user)


def test_light_and_dark(browser: Browser, server: Server) -> None:
    def background(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    with opened(browser, server, "dark") as console:
        console.page.goto(f"{server.admin_url}/console")
        assert background(console.page) == "rgb(13, 18, 24)"
        console.button("Theme: auto").click()
        assert background(console.page) == "rgb(243, 245, 248)"
        console.page.reload()
        console.button("Theme: light").click()
        assert background(console.page) == "rgb(13, 18, 24)"


@pytest.mark.parametrize("width", [360, 820, 1280])
def test_no_width_makes_the_page_scroll_sideways(console: Console, width: int) -> None:
    console.page.set_viewport_size({"width": width, "height": 800})
    with streams(console.server, "a-user-whose-name-is-rather-long@a-domain-that-is-not-short.example.com", "s1"):
        expect(console.row("a-user-whose-name")).to_be_visible()
        assert console.page.evaluate("document.documentElement.scrollWidth") == width


def test_only_a_search_is_announced(console: Console) -> None:
    found = console.page.locator("#found")
    expect(found).to_have_attribute("aria-live", "off")
    console.search("nobody-is-called-that")
    expect(found).to_have_text("0 match")
    expect(found).to_have_attribute("aria-live", "polite")
    expect(found).to_have_attribute("aria-live", "off")  # from the next refresh on


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("node")  # it brings axe
def test_axe_finds_nothing(browser: Browser, server: Server, scheme: str) -> None:
    with browser.new_context(color_scheme=scheme, bypass_csp=True) as context:  # type: ignore[arg-type]  # a literal
        console = Console(context.new_page(), server)
        console.page.goto(f"{server.admin_url}/console")
        check(console.page)
        console.sign_in()
        with streams(server, "axe", "s1"):
            expect(console.row("axe")).to_be_visible()
            check(console.page)
            console.row("axe").get_by_role("button").click()
            check(console.page)


def check(page: Page) -> None:
    page.evaluate(AXE.read_text(encoding="utf-8"))
    violations = page.evaluate("axe.run().then((found) => found.violations)")
    assert violations == [], json.dumps(violations, indent=1)


def test_a_server_that_drains_and_goes(browser: Browser) -> None:
    with run_server("--drain-time=3") as server, opened(browser, server) as console:
        console.sign_in()
        console.sees_state("Live")
        with streams(server, "leaving", "s1", "s2", "s3", "s4") as every:
            expect(console.row("leaving").first).to_be_visible()
            console.button("Drain and stop …").click()
            console.page.get_by_role("dialog").get_by_role("button", name="Drain and stop").click()
            console.sees_state("Draining")
            for lines in every:
                assert 'data: {"reason": "draining", "reconnect": true}' in list(lines)
            console.sees_state(re.compile("No connection since .*, trying again"))


def test_a_restart_is_seen_through(browser: Browser) -> None:
    """The page comes back by itself, to another process that signs with the same secret."""
    with run_server() as first:
        port = first.admin_url.rpartition(":")[2]
        context = browser.new_context()
        console = Console(context.new_page(), first)
        console.sign_in()
        console.sees_state("Live")
    console.sees_state(re.compile("No connection"))
    with run_server(f"--admin-port={port}"):
        console.sees_state("Live")
        context.close()
    assert console.problems == []

"""The demo page in Chromium, as a person sees it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect

from browser_support import Server, open_browser, open_tab, run_server
from node_support import CLIENTS
from pictures import Scheme, take

RETRY = "--retry=0.6"
AXE = CLIENTS / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with run_server(RETRY) as server:
        yield server


@pytest.fixture(scope="module")
def forgetful() -> Iterator[Server]:
    """Keeps two messages for each topic."""
    with run_server(RETRY, "--history-size=2") as server:
        yield server


class Demo:
    """The demo page as a person sees it."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.problems: list[str] = []
        self.urls: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._hear)
        page.on("request", lambda request: self.urls.append(request.url))
        page.goto(f"{server.url}/")
        self.sees_state("Stream open")

    def _hear(self, message: ConsoleMessage) -> None:
        cut = "ERR_INCOMPLETE_CHUNKED_ENCODING" in message.text  # that is what a cut looks like
        if not cut and not message.location["url"].endswith("/favicon.ico"):  # of the page before
            self.problems.append(message.text)

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).click()

    def sees_state(self, text: str) -> None:
        expect(self.page.get_by_role("status")).to_have_text(text)

    def sees(self, text: str, *, times: int = 1, kind: str = "li") -> None:
        expect(self.page.get_by_role("log").locator(kind, has_text=text)).to_have_count(times)

    def sees_no_sideways_scrolling(self) -> None:
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture
def demo(browser: Browser, server: Server) -> Iterator[Demo]:
    with open_tab(browser, server.url) as tab:
        demo = Demo(tab.page, server)
        yield demo
        assert demo.problems == []
        assert all(url.startswith((server.url, "data:")) for url in demo.urls)


def test_the_demo_sends_to_its_user_by_keyboard(demo: Demo) -> None:
    demo.page.get_by_label("Message").fill("<b>Only me</b>")
    demo.page.keyboard.press("Enter")
    demo.sees("<b>Only me</b>", kind="li.live")


def test_the_demo_reaches_everyone(demo: Demo, browser: Browser, server: Server) -> None:
    with open_tab(browser, server.url) as tab:
        other = Demo(tab.page, server)
        demo.page.get_by_label("Message").fill("Dinner")
        demo.page.get_by_text("Everyone", exact=True).click()
        demo.press("Send")
        for page in (demo, other):
            page.sees("Dinner", kind="li.live")
        assert other.problems == []


def test_the_demo_shows_a_resume(demo: Demo) -> None:
    demo.press("Cut, and send three meanwhile")
    demo.sees_state("Reconnecting")
    demo.sees("Connection lost")
    demo.sees_state("Stream open")
    demo.sees("All three arrived: each once, and in order.")
    demo.sees("sent while you were away", times=3, kind="li.replayed")
    expect(demo.page.get_by_role("log").locator("li.live")).to_have_count(0)
    demo.press("Send")
    demo.sees("Hello from this page", kind="li.live")
    demo.press("Just cut it")
    demo.sees("Connected again after", times=2)
    demo.sees("replayed", times=3)


def test_the_demo_shows_a_hole(browser: Browser, forgetful: Server) -> None:
    with open_tab(browser, forgetful.url) as tab:
        demo = Demo(tab.page, forgetful)
        demo.press("Cut, and send three meanwhile")
        demo.sees("stream-gap", kind="li.server")
        demo.sees("no longer had them")
        demo.sees("sent while you were away", times=2, kind="li.replayed")
        demo.sees("All three arrived", times=0)


def test_the_demo_shows_which_tab_leads(demo: Demo, server: Server) -> None:
    page = demo.page.context.new_page()
    other = Demo(page, server)
    expect(page.locator("#user")).to_have_text(demo.page.locator("#user").inner_text())
    expect(page.locator("#connections")).to_have_text("2 tabs, 1 connection")
    expect(demo.page.locator("#tabs .leads")).to_have_text("This tab leads")
    expect(page.locator("#tabs .leads")).not_to_have_text("This tab leads")
    demo.press("Send")
    other.sees("Hello from this page", kind="li.live")
    demo.page.close()
    expect(page.locator("#tabs .leads")).to_have_text("This tab leads")
    expect(page.locator("#connections")).to_have_text("1 tab, 1 connection")
    other.press("Send")
    other.sees("Hello from this page", times=2, kind="li.live")
    assert other.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_of_the_demo(browser: Browser, server: Server, scheme: Scheme, tmp_path: Path) -> None:
    assert take(browser, server.url, scheme, tmp_path).stat().st_size > 50_000


def test_the_demo_does_without_what_only_secure_pages_have(browser: Browser, server: Server) -> None:
    with open_tab(browser, server.url) as tab:
        tab.page.add_init_script("delete Navigator.prototype.locks; delete Crypto.prototype.randomUUID;")
        demo = Demo(tab.page, server)
        expect(tab.page.locator("#role")).to_contain_text("tabs share one only on secure pages")
        demo.press("Cut, and send three meanwhile")
        demo.sees("All three arrived: each once, and in order.")
        assert demo.problems == []


@pytest.mark.usefixtures("node")  # it brings axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1240])
def test_axe_finds_nothing(browser: Browser, server: Server, scheme: Scheme, width: int) -> None:
    size: ViewportSize = {"width": width, "height": 900}
    still = browser.new_context(color_scheme=scheme, viewport=size, reduced_motion="reduce")  # nothing half faded in
    with still as context:
        demo = Demo(context.new_page(), server)
        demo.press("Cut, and send three meanwhile")
        demo.sees("All three arrived")
        demo.sees_no_sideways_scrolling()
        for press in ("Disconnect for good", None):
            demo.page.evaluate(AXE.read_text())  # a script tag would be against the page's policy
            violations = demo.page.evaluate("axe.run().then((found) => found.violations)")
            assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in violations] == []
            if press:
                demo.press(press)
                demo.sees("said goodbye for good")


def test_on_a_phone_what_happens_is_seen_from_every_button(browser: Browser, server: Server) -> None:
    with browser.new_context(viewport={"width": 375, "height": 812}, has_touch=True) as context:
        demo = Demo(context.new_page(), server)
        demo.press("Cut, and send three meanwhile")
        demo.sees("All three arrived")
        expect(demo.page.get_by_role("log").get_by_text("All three arrived")).to_be_in_viewport()


def test_the_demo_starts_anew_where_its_session_is_unknown(demo: Demo) -> None:
    demo.page.evaluate("""() => {
        const kept = JSON.parse(localStorage["demo-session"]);
        localStorage["demo-session"] = JSON.stringify({ ...kept, sessionId: "of-another-server" });
    }""")
    demo.page.reload()
    demo.sees_state("Stream open")
    demo.press("Send")
    demo.sees("Hello from this page", kind="li.live")
    demo.problems.clear()  # the browser tells of the 401


def test_the_demo_disconnects_for_good_and_starts_anew(demo: Demo) -> None:
    demo.press("Disconnect for good")
    demo.sees_state("Stream closed")
    demo.sees("stream-closing", kind="li.server")
    demo.sees("said goodbye for good")
    expect(demo.page.locator("#connections")).to_have_text("1 tab, no connection")
    expect(demo.page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    expect(demo.page.get_by_role("button", name="Start a new session")).to_be_focused()
    demo.page.keyboard.press("Enter")
    demo.sees_state("Stream open")
    demo.press("Send")
    demo.sees("Hello from this page", kind="li.live")

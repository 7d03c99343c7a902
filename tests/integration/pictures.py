"""Takes the pictures of the demo that README shows: `make pictures`."""

from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, expect

from browser_support import open_browser, run_server

IMAGES = Path(__file__).parents[2] / "docs" / "images"
Scheme = Literal["light", "dark"]
SIZE: ViewportSize = {"width": 1240, "height": 880}


def take(browser: Browser, url: str, scheme: Scheme, folder: Path = IMAGES) -> Path:
    """Play a small story in two tabs, and picture the first: connected, cut, resumed, with another tab beside it."""
    path = folder / f"demo-{scheme}.png"
    with browser.new_context(viewport=SIZE, color_scheme=scheme, device_scale_factor=1.5) as context:
        first, second = context.new_page(), context.new_page()
        for page in (first, second):
            page.goto(f"{url}/demo")
            expect(page.get_by_role("status")).to_have_text("Stream open")
        _play(first)
        expect(first.locator("#tabs li")).to_have_count(2)
        first.mouse.move(0, 0)
        first.screenshot(path=path, animations="disabled")
    return path


def _play(page: Page) -> None:
    log = page.get_by_role("log")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(log.locator("li.live")).to_have_count(1)
    page.get_by_role("button", name="Cut, and send three meanwhile").click()
    expect(log.get_by_text("All three arrived")).to_be_visible()
    page.get_by_text("Everyone", exact=True).click()
    page.get_by_label("Message").fill("Dinner is ready")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(log.get_by_text("Dinner is ready")).to_be_visible()


def main() -> None:
    """Take both."""
    with open_browser() as browser, run_server("--retry=0.6") as server:
        take(browser, server.url, "light")
        take(browser, server.url, "dark")


if __name__ == "__main__":
    main()

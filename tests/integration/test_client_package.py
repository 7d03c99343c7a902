"""The client as an npm package: what is in it, and an application with React that is checked, bundled and run."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser_support import PATIENCE, open_browser, run_server
from node_support import CLIENT, CLIENTS

Run = Callable[..., str]
ENTRIES = {f"dist/{name}{kind}" for name in ("client", "react") for kind in (".js", ".js.map", ".d.ts")}


@pytest.fixture
def shop(client_tools: Run, tmp_path: Path) -> Path:
    """An application that has installed the package."""
    packed = json.loads(client_tools("npm", "pack", "--json", "--pack-destination", tmp_path))[0]
    assert ENTRIES | {"dist/LICENSE", "README.md", "package.json"} <= {file["path"] for file in packed["files"]}
    folder = tmp_path / "shop"
    shutil.copytree(CLIENTS / "shop", folder)
    shutil.unpack_archive(tmp_path / packed["filename"], tmp_path, "gztar")
    modules = folder / "node_modules"
    modules.mkdir()
    (tmp_path / "package").rename(modules / "tornado-sse-client")
    for name in ("react", "react-dom", "@types", "csstype"):
        (modules / name).symlink_to(CLIENT / "node_modules" / name)
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(PATIENCE)


def test_an_application_with_react_is_checked_bundled_and_run(client_tools: Run, shop: Path) -> None:
    for modules, resolution in (("esnext", "bundler"), ("nodenext", "nodenext")):
        client_tools("npx", "tsc", "-p", shop, "--module", modules, "--moduleResolution", resolution)
    client_tools("npx", "vite", "build", shop, "--logLevel", "error")
    with (
        serve(shop / "dist") as origin,
        run_server(f"--allowed-origins={origin}") as server,
        open_browser() as browser,
        browser.new_context() as context,
    ):
        pages = [context.new_page() for _ in range(2)]
        errors: list[str] = []
        for page in pages:
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(f"{origin}/?server={server.url}&token={server.token('buyer', channels=['prices'])}")
            expect(page.locator("#orders")).to_contain_text("open ")
            expect(page.locator("#price")).to_have_text("open")
        server.publish("buyer", {"no": 1}, {"no": 2}, event="order")
        server.publish("buyer", " 7.50 ", event="price")
        for page in pages:
            expect(page.locator("#orders")).to_contain_text(": 1,2 price")
            expect(page.locator("#price")).to_have_text("7.50")
        assert server.metric("tornado_sse_open_streams") == 3  # one that they share, and one each
        assert errors == []

"""The page and the backend that README begins with, as they stand there."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect

from browser_support import SECRET, open_browser, run_server

SHOP = Path(__file__).parents[2] / "docs" / "shop.py"


def test_the_page_is_told_what_its_button_did(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://localhost:{port}"
    (tmp_path / "sse.toml").write_text(f'jwt_secret = "{SECRET}"\n')
    with run_server(f"--allowed-origins={url}") as server, open_browser() as browser:
        env = os.environ | {"EVENTS_URL": server.url, "PORT": str(port)}
        with subprocess.Popen([sys.executable, SHOP], cwd=tmp_path, env=env, stdout=subprocess.PIPE) as shop:
            try:
                assert shop.stdout is not None
                assert shop.stdout.readline() == f"listening on {url}\n".encode()
                page = browser.new_page()
                page.goto(url)
                for count in (1, 2):
                    page.get_by_role("button", name="Pay").click()
                    expect(page.get_by_role("listitem")).to_have_text(['{"id": 7, "paid": true}'] * count)
            finally:
                shop.terminate()

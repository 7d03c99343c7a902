"""Takes the pictures of the console, in light and dark, from a server under a load made up for them: `make pictures`.

It runs for five minutes, so that the charts are full.
"""

import asyncio
import math
import random
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import httpx

from browser_support import Server, open_browser, run_server

IMAGES = Path(__file__).parents[2] / "docs" / "images"
NAMES = ["amara", "bjorn", "chioma", "dmitri", "elena", "farid", "greta", "hiro", "ines", "jonas", "kaya", "lucia"]
SLOW = 12
"""Clients that read nothing."""

SLOWEST = 900
"""Number of the first of them."""

OUSTED = 0.05
"""Users disconnected each second, on average."""


class Crowd:
    """Clients that come, go, and read, or don't."""

    def __init__(self, server: Server, seed: int = 7) -> None:
        self._server = server
        self._host, _, port = server.url.removeprefix("http://").rpartition(":")
        self._port = int(port)
        self._random = random.Random(seed)  # noqa: S311 - makes a picture
        self._readers: list[asyncio.Task[None]] = []

    async def live(self, over: threading.Event) -> None:
        """Play until it is over."""
        started = time.monotonic()
        slow = [asyncio.create_task(self._dawdle(SLOWEST + n)) for n in range(SLOW)]
        async with httpx.AsyncClient(base_url=self._server.url, timeout=10, trust_env=False) as http:
            while not over.is_set():
                now = time.monotonic() - started
                if self._random.random() < OUSTED:
                    self._oust()
                self._grow(240 + round(90 * math.sin(now / 40) + self._random.gauss(0, 5)))
                await self._publish(http, round(30 + 20 * math.sin(now / 23) + self._random.expovariate(0.2)))
                await asyncio.sleep(1)
        for task in [*slow, *self._readers]:
            task.cancel()

    def _grow(self, wanted: int) -> None:
        while len(self._readers) < wanted:
            self._readers.append(asyncio.create_task(self._listen(self._random.randrange(400))))
        while len(self._readers) > wanted:
            self._readers.pop(self._random.randrange(len(self._readers))).cancel()

    async def _publish(self, http: httpx.AsyncClient, times: int) -> None:
        """Publish to all, and more to those who read nothing, so that something waits for them."""
        token = self._server.token("backend", ["publish"])
        prices = [{"to": {"channel": "prices"}, "data": {"price": 17.25}}] * max(1, times)
        reports = [{"to": {"user": self._user(SLOWEST + n)}, "data": "x" * 60_000} for n in range(SLOW)]
        headers = {"Authorization": f"Bearer {token}"}
        await http.post("/sse/publish", json=prices + reports, headers=headers)

    def _oust(self) -> None:
        """Disconnect a user, as one does at the console."""
        headers = {"Authorization": f"Bearer {self._server.token('ops', ['admin'])}"}
        body = {"user": self._user(self._random.randrange(400))}
        httpx.post(f"{self._server.admin_url}/api/disconnect", json=body, headers=headers, trust_env=False)

    def _user(self, number: int) -> str:
        return f"{NAMES[number % len(NAMES)]}-{number}"

    async def _connect(self, number: int, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        head = [
            f"GET /sse/connect/tab-{self._random.randrange(10**6)}?channel=prices HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {self._server.token(self._user(number), channels=['prices'])}",
            f"X-Forwarded-For: 203.0.113.{1 + number % 250}",
        ]
        reader, writer = await asyncio.open_connection(self._host, self._port, **options)
        writer.write("\r\n".join([*head, "", ""]).encode())
        return reader, writer

    async def _listen(self, number: int) -> None:
        reader, writer = await self._connect(number)
        try:
            while await reader.read(1 << 16):
                pass
        finally:
            writer.close()

    async def _dawdle(self, number: int) -> None:
        """Read next to nothing, give up, and come back."""
        await asyncio.sleep(self._random.uniform(0, 60))
        while True:
            _, writer = await self._connect(number, limit=1)
            try:
                await asyncio.sleep(self._random.uniform(60, 150))
            finally:
                writer.close()


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=310)
    parser.add_argument("--into", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    with run_server(
        "--trusted-proxies=127.0.0.1", "--outbox-age=60", "--outbox-bytes=1000000", "--tcp-user-timeout=0"
    ) as server:
        over = threading.Event()
        playing = threading.Thread(target=lambda: asyncio.run(Crowd(server).live(over)))
        playing.start()
        try:
            time.sleep(arguments.seconds)
            take(server, arguments.into)
        finally:
            over.set()
            playing.join()


def take(server: Server, into: Path) -> None:
    """Take both pictures."""
    link = f"{server.admin_url}/console#token={server.token('ops', ['admin'])}"
    with open_browser() as browser:
        for scheme in ("light", "dark"):
            page = browser.new_page(
                color_scheme=scheme,
                viewport={"width": 1360, "height": 1000},
                device_scale_factor=1.5,
            )
            page.goto(link)
            page.get_by_role("row").nth(10).wait_for()
            page.get_by_role("button", name="Backlog").click()
            page.wait_for_timeout(2500)
            page.screenshot(path=into / f"console-{scheme}.png")
            page.close()


if __name__ == "__main__":
    main()

"""What each client survives, as the table of docs/clients.md says it: one trouble at a time, to every client."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Page, async_playwright

from browser_support import FLAGS, find_chromium
from node_support import CLIENTS, NodeClient, Proxy, said_by
from process_support import Process, server_process
from server_support import bearer, token

PATIENCE = 30.0
TEXT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
SERVER: dict[str, object] = {"retry": 0.1}


def read_table() -> dict[tuple[str, str], bool]:
    """Return whether it comes back, by trouble and client."""
    section = TEXT.partition("## What each survives")[2].partition("\n## ")[0]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    return {
        (row[0], client.partition(",")[0].strip("`")): cell.startswith("comes back")
        for row in rows
        for client, cell in zip(head[1:], row[1:], strict=True)
    }


TABLE = read_table()


Open = Callable[[str, str], AbstractAsyncContextManager["Client"]]


class Client(Protocol):
    async def gets(self, text: str) -> bool:
        """Wait until it has that message, or gives up."""


@dataclass
class Script:
    """A program that says what it got."""

    process: NodeClient

    async def gets(self, text: str) -> bool:
        try:
            await self.process.until(lambda said: said.get("data") == text or said.get("what") == "closed")
        except EOFError:
            return False
        return self.process.said[-1].get("data") == text


LISTEN = """(url) => {
    window.got = [];
    window.source = new EventSource(url);
    source.onmessage = ({ data }) => got.push(data);
}"""


@dataclass
class Tab:
    """A page of Chromium with its own EventSource."""

    page: Page

    async def gets(self, text: str) -> bool:
        over = "(text) => got.includes(text) || source.readyState === 2"
        await self.page.wait_for_function(over, arg=text, timeout=PATIENCE * 1000)
        found: bool = await self.page.evaluate("(text) => got.includes(text)", text)
        return found


@asynccontextmanager
async def native(url: str, _token: str) -> AsyncIterator[Client]:
    path = find_chromium()
    async with async_playwright() as playwright, AsyncExitStack() as stack:
        browser = await stack.enter_async_context(await playwright.chromium.launch(executable_path=path, args=FLAGS))
        page = await browser.new_page()
        await page.goto(f"{url.partition('/sse/')[0]}/healthz")
        await page.evaluate(LISTEN, url)
        yield Tab(page)


def program(*command: str | Path) -> Open:
    """Run it with the stream's address and a token."""

    @asynccontextmanager
    async def run(url: str, token: str) -> AsyncIterator[Client]:
        async with said_by(*command, url, token) as process:
            yield Script(process)

    return run


@asynccontextmanager
async def tail(url: str, token: str) -> AsyncIterator[Client]:
    base, _, session = url.partition("/sse/connect/")
    command = [sys.executable, "-m", "tornado_sse", "tail", "--json", "--url", base, "--session", session]
    async with said_by(*command, "--token", token) as process:
        yield Script(process)


NPM = ("eventsource", "eventsource-client", "fetch-event-source")
OPENERS: dict[str, Open] = {
    "EventSource": native,
    "our own": program("node", CLIENTS / "tornado-sse-client.mjs"),
    **{name: program("node", CLIENTS / f"{name}.mjs") for name in NPM},
    "httpx-sse": program(sys.executable, CLIENTS / "docs_python.py"),
    "tail": tail,
}


@dataclass
class Scene:
    """A client that has a stream through a proxy, and what may befall it."""

    server: Process
    proxy: Proxy
    backend: httpx.AsyncClient
    servers: ExitStack
    user: str = field(default_factory=token_urlsafe)

    async def publish(self, text: str) -> int:
        """Return how many streams it reached."""
        body = {"to": {"user": self.user}, "data": text}
        answer = await self.backend.post(f"{self.server.url}/sse/publish", json=body)
        return int(answer.raise_for_status().json()["receipts"][0]["streams"])

    async def session(self) -> str:
        answer = await self.backend.post(f"{self.server.url}/sse/sessions", json={"userId": self.user})
        return str(answer.raise_for_status().json()["sessionId"])

    async def cut(self) -> None:
        self.proxy.cut(abrupt=True)

    async def kill_the_server(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        self.server = self.servers.enter_context(server_process(**SERVER))
        self.proxy.lead_to(port_of(self.server.url))

    async def refuse(self, status: int) -> None:
        self.proxy.refuse(status)
        self.proxy.cut(abrupt=True)


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


TROUBLES: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "connection cut": Scene.cut,
    "server killed and back": Scene.kill_the_server,
    "503 once, then good": lambda scene: scene.refuse(503),
    "429 once, then good": lambda scene: scene.refuse(429),
    "401 once, then good": lambda scene: scene.refuse(401),
}


@pytest.fixture(scope="module")
def lasting() -> Iterator[Process]:
    with server_process(**SERVER) as process:
        yield process


@pytest.fixture
def server(trouble: str, lasting: Process) -> Iterator[Process]:
    """One that may be killed, if that is the trouble."""
    if TROUBLES[trouble] is not Scene.kill_the_server:
        yield lasting
        return
    with server_process(**SERVER) as process:
        yield process


@asynccontextmanager
async def open_scene(server: Process) -> AsyncIterator[Scene]:
    headers = bearer("backend", scopes=["publish", "sessions"])
    with ExitStack() as servers:
        async with (
            httpx.AsyncClient(headers=headers, trust_env=False) as backend,
            Proxy(port_of(server.url)).running() as proxy,
        ):
            yield Scene(server, proxy, backend, servers)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", OPENERS)
@pytest.mark.usefixtures("node")
def test_it_comes_back_or_not_as_the_table_says(name: str, trouble: str, server: Process) -> None:
    async def tell() -> bool:
        async with open_scene(server) as scene:
            url = f"http://127.0.0.1:{scene.proxy.port}/sse/connect/{await scene.session()}"
            async with OPENERS[name](url, token(scene.user)) as client:
                async with asyncio.timeout(PATIENCE):
                    while not await scene.publish("first"):
                        await asyncio.sleep(0.05)
                    assert await client.gets("first")
                await TROUBLES[trouble](scene)
                await scene.publish("second")
                async with asyncio.timeout(PATIENCE):
                    return await client.gets("second")

    assert asyncio.run(tell()) is TABLE[trouble, name]

"""Event stream clients that people use, as they use them: each gets every message once, whatever is cut, and stops."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_urlsafe
from urllib.parse import urlsplit

import httpx
import pytest

from node_support import NodeClient, Proxy, node_client
from process_support import Process, server_process
from server_support import bearer

OWN = "tornado-sse-client"
CLIENTS = ("eventsource", "eventsource-client", "fetch-event-source", OWN)
TEXTS = ("plain", "two\nlines\n\nand more", "crlf\r\nand cr\rends", "\u2028\u2029\u0085 \U0001f600 \x00 é", " {} ")
NAMES = ("message", "order", "день")
PADDING = 300
"""Random bytes in each message, so that it is no shorter on the wire when it is compressed."""


@dataclass
class Story:
    """A client behind a proxy, and what was published to it."""

    client: NodeClient
    proxy: Proxy
    backend: httpx.AsyncClient
    user: str
    session: str
    sent: list[tuple[str, str]] = field(default_factory=list)

    async def publish(self) -> None:
        """Publish one message of each kind."""
        for text in TEXTS:
            for name in NAMES:
                data = f"{len(self.sent)} {text} {token_urlsafe(PADDING)}"
                self.sent.append((name, data.replace("\r\n", "\n").replace("\r", "\n")))
                event = {} if name == "message" else {"event": name}
                answer = await self.backend.post(
                    "/sse/publish", json={"to": {"user": self.user}, "data": data, **event}
                )
                assert answer.status_code == 200, answer.text

    async def caught_up(self) -> None:
        """Wait until the client has what was published last."""
        await self.client.until(lambda said: said.get("data") == self.sent[-1][1])

    async def lost(self) -> None:
        """Wait until the client has noticed that its connection broke."""
        await self.client.until(lambda said: said["what"] == "lost")


@asynccontextmanager
async def story(node: str, name: str, url: str, user: str) -> AsyncIterator[Story]:
    """Connect a client through a proxy: `eventsource` by a minted session id, the others with a bearer token."""
    port = urlsplit(url).port
    assert port is not None
    headers = bearer("backend", scopes=["publish", "sessions"])
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as backend,
        Proxy(port).running() as proxy,
    ):
        session, token = "s1", bearer(user)["Authorization"].removeprefix("Bearer ")
        if name == "eventsource":
            session, token = (await backend.post("/sse/sessions", json={"userId": user})).json()["sessionId"], ""
        address = f"http://127.0.0.1:{proxy.port}/sse/connect/{session}"
        async with node_client(node, f"{name}.mjs", address, token) as client:
            await client.until(lambda said: said["what"] == "open")
            yield Story(client, proxy, backend, user, session)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "gzip"])
def server(request: pytest.FixtureRequest) -> Iterator[Process]:
    with server_process(compression=request.param, retry=0.1) as process:
        yield process
    assert process.problems() == []


@pytest.mark.parametrize("name", CLIENTS)
def test_every_message_comes_once_and_in_order_however_it_is_cut(node: str, server: Process, name: str) -> None:
    async def tell() -> None:
        async with story(node, name, server.url, user=f"cut-{name}") as tale:
            await tale.publish()
            await tale.caught_up()
            for abrupt in (True, False):
                tale.proxy.cut(abrupt=abrupt)
                await tale.lost()
                await tale.publish()
                await tale.caught_up()
            for size in (1, 30, PADDING, PADDING * 4):
                tale.proxy.cut_after(size)
                await tale.publish()
                await tale.caught_up()
            assert [(event["name"], event["data"]) for event in tale.client.events] == tale.sent
            assert tale.proxy.connects == 7
            assert (b"Content-Encoding: gzip" in tale.proxy.head) is server.settings["compression"]

    asyncio.run(tell())


@pytest.mark.parametrize("name", CLIENTS)
def test_a_session_disconnected_on_purpose_stops_it_for_good(node: str, server: Process, name: str) -> None:
    async def tell() -> None:
        async with story(node, name, server.url, user=f"stop-{name}") as tale:
            answer = await tale.backend.delete(f"/sse/disconnect/{tale.session}", headers=bearer(tale.user))
            assert answer.status_code == 200, answer.text
            assert await tale.client.exits() == 0  # nothing is left to do: no timer, no connection
            assert [event["name"] for event in tale.client.events] == ["stream-closing"]
            assert "closed" in [said["what"] for said in tale.client.said[-2:]]
            assert tale.proxy.connects == (
                1 if name == OWN else 2
            )  # ours takes the server's word, the others ask again

    asyncio.run(tell())

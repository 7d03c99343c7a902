"""The attack: another user connects to, disconnects and refreshes a session that isn't theirs, guessed or seen.

The owner must notice nothing, and the thief must not learn from any answer whether the session exists.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import choice
from statistics import median

import pytest

from abuse_support import sizes
from client_support import Client
from jwt_support import b64
from serve_support import Process, served
from server_support import bearer
from valkey_support import valkey

Engine = Callable[[], AbstractAsyncContextManager[dict[str, str]]]

MINE, NOBODYS = "web-4711", "web-4712"
UNFAIR = 0.3
"""How far from one half the share of pairs in which one is slower may be.

By chance, sixty pairs are beyond it once in 100,000 runs, however busy the machine; a difference above its noise is.
"""

THIEF = {"Authorization": bearer("thief")["Authorization"]}
BOUND = {"Authorization": bearer("thief", session="of-the-thief")["Authorization"]}

ATTACKS: dict[str, tuple[str, str, dict[str, str]]] = {
    "disconnect": ("DELETE", "/sse/disconnect/{}", THIEF),
    "refresh": ("POST", "/sse/sessions/{}/refresh", THIEF),
    "probe": ("HEAD", "/sse/connect/{}", THIEF),
    "connect by a token bound to another": ("GET", "/sse/connect/{}", BOUND),
    "disconnect without a token": ("DELETE", "/sse/disconnect/{}", {}),
    "connect without a token": ("GET", "/sse/connect/{}", {}),
}


async def mint(process: Process, user: str) -> str:
    body = json.dumps({"userId": user}).encode()
    headers = process.bearer("backend", scopes=["sessions"]) | {"Content-Type": "application/json"}
    answer = await process.ask("/sse/sessions", headers, method="POST", body=body, user=None)
    return str(answer.json()["sessionId"])


def forged(minted: str) -> str:
    """An id of the same looks that no server made.

    It is refused sooner than a real one, whose claims are read. Who holds an id sees as much by using it.
    """
    header, payload, _ = minted.split(".")
    return f"{header}.{payload}.{b64(bytes(32))}"


async def answer_bytes(process: Process, method: str, target: str, headers: dict[str, str]) -> bytes:
    """All that is answered, but for the date."""
    client = await process.client()
    await client.request(target, headers | {"Connection": "close"}, method=method)
    return re.sub(rb"Date: [^\r]+", b"Date: -", await client.read_all())


async def seconds(client: Client, method: str, target: str, headers: dict[str, str]) -> float:
    """How long an answer takes on a connection that stays open."""
    began = time.perf_counter()
    await client.request(target, headers, method=method)
    await client.response(to_head=method == "HEAD")
    return time.perf_counter() - began


async def compared(
    client: Client, size: int, method: str, pair: tuple[str, str], headers: dict[str, str]
) -> tuple[float, float]:
    """Take the times in pairs; return the share of pairs in which the first is slower, and the ratio of the medians."""
    first, second = pair
    took: dict[str, list[float]] = {first: [], second: []}
    for number in range(size):
        for target in (first, second) if number % 2 else (second, first):
            took[target].append(await seconds(client, method, target, headers))
    slower = sum(one > other for one, other in zip(took[first], took[second], strict=True))
    return slower / size, median(took[first]) / median(took[second])


async def owner_hears(process: Process, owner: Client, text: str) -> None:
    """The owner gets what is theirs, and nothing before it."""
    body = json.dumps({"to": {"user": "owner", "session": MINE}, "data": text}).encode()
    assert (await process.ask("/sse/publish", method="POST", body=body)).status == 200
    assert await owner.data() == text


@asynccontextmanager
async def memory() -> AsyncIterator[dict[str, str]]:
    yield {}


@asynccontextmanager
async def redis() -> AsyncIterator[dict[str, str]]:
    async with valkey() as server:
        yield {"broker": server.url}


@sizes(short=60, long=2000)
@pytest.mark.parametrize("engine", [memory, redis], ids=["alone", "with other nodes"])
@pytest.mark.gen_test(timeout=300)
async def test_what_is_not_theirs_looks_as_if_it_were_not_there(
    engine: Engine, size: int, held: Callable[[str], None]
) -> None:
    """Equal in bytes; and in the median of times, taken in turn on one connection."""
    async with engine() as broker, served(keepalive=300, **broker) as process:
        owner = await process.opened(MINE, user="owner")
        client = await process.client()
        ratios: dict[str, float] = {}
        minted = await mint(process, "owner")
        unopened = await mint(process, "owner")
        await process.opened(minted, user="owner")
        for name, (method, path, headers) in ATTACKS.items():
            for session, unknown in [(MINE, NOBODYS)] + ([(minted, unopened)] if headers else []):
                first, second = path.format(session), path.format(unknown)
                answers = {await answer_bytes(process, method, target, headers) for target in (first, second)}
                assert len(answers) == 1, name
                slower, ratio = await compared(client, size, method, (first, second), headers)
                assert abs(slower - 0.5) < UNFAIR, name
                ratios[name] = max(ratios.get(name, 1.0), ratio, 1 / ratio)
        for method, path, headers in (ATTACKS["disconnect"], ATTACKS["refresh"], ATTACKS["probe"]):
            targets = [path.format(session) for session in (minted, forged(minted))]
            assert len({await answer_bytes(process, method, target, headers) for target in targets}) == 1
        await owner_hears(process, owner, "still here")
    held(f"{len(ratios)} ways, {size} times each: bytes equal, medians of time within {max(ratios.values()):.3f}")


async def attempt(client: Client) -> None:
    """Connect as the thief, or disconnect; each is of the thief's own session of that name, and may end the other."""
    method, path, headers = choice(  # noqa: S311 - nothing is kept secret by it
        [ATTACKS["disconnect"], ("GET", "/sse/connect/{}", THIEF)]
    )
    await client.request(path.format(MINE), headers, method=method)
    assert (await client.response()).status in {200, 204, 404}


async def owner_returns(process: Process) -> None:
    """The owner opens a second tab with the same session, and closes it."""
    (await process.opened(MINE, user="owner")).close()


@sizes(short=60, long=3000)
@pytest.mark.gen_test(timeout=120)
async def test_a_race_for_a_session_takes_nothing_from_its_owner(size: int, held: Callable[[str], None]) -> None:
    """A thief's streams with the same id replace the thief's own oldest, never the owner's; nobody hears the other."""
    async with served(max_streams_per_user=16, user_cap_policy="replace", keepalive=300) as process:
        owner = await process.opened(MINE, user="owner")
        for _ in range(size // 30):
            clients = [await process.client() for _ in range(30)]
            await asyncio.gather(*(attempt(client) for client in clients), owner_returns(process))
            for client in clients:
                client.close()
        await owner_hears(process, owner, "still mine")
    held(f"{size} connects in races: the owner's stream stayed and got its messages")

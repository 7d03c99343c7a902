"""The attack: floods of tokens with key ids that nobody knows, and a key server (JWKS) that lies, crawls or hangs."""

import asyncio
import json
import time
from collections.abc import Callable

import jwt
import pytest

from abuse_support import sizes
from client_support import Client
from jwt_support import b64, private_key, site
from serve_support import Process, served

COOLDOWN = 30
"""Seconds between two fetches for the sake of an unknown key id."""

LIES = ["redirect", "giant", "bomb", "html", "deep", "secret", "broken", "endless"]
DELAYS = ["hang", "crawl"]


def unknown(number: int) -> dict[str, str]:
    """A token as forgers make it: its key id leads nowhere, and its signature is none."""
    header, payload = b64({"alg": "ES256", "kid": f"k-{number}"}), b64({"sub": "u1", "exp": time.time() + 60})
    return {"Authorization": f"Bearer {header}.{payload}.{b64(bytes(64))}"}


def known() -> dict[str, str]:
    claims = {"sub": "u1", "exp": time.time() + 60}
    text = jwt.encode(claims, private_key("ec"), algorithm="ES256", headers={"kid": "k1"})
    return {"Authorization": f"Bearer {text}"}


async def status(process: Process, headers: dict[str, str]) -> int:
    return (await process.ask("/sse/connect/s1", headers, method="HEAD", user=None)).status


async def flood(client: Client, numbers: range) -> set[int]:
    """Try so many key ids on one connection, and return the answers' statuses."""
    seen = set()
    for number in numbers:
        await client.request("/sse/connect/s1", unknown(number))
        seen.add((await client.response()).status)
    return seen


@sizes(short=500, long=10_000)
@pytest.mark.gen_test(timeout=300)
async def test_unknown_key_ids_make_one_fetch_a_cooldown(size: int, held: Callable[[str], None]) -> None:
    async with site() as (issuer, url), served(jwks_url=f"{url}/good") as process:
        assert await status(process, known()) == 200
        began, step = time.monotonic(), size // 10
        clients = [await process.client() for _ in range(10)]
        floods = (flood(client, range(n * step, (n + 1) * step)) for n, client in enumerate(clients))
        assert set().union(*await asyncio.gather(*floods)) == {401}
        took = time.monotonic() - began
        assert len(issuer.asked) <= 2 + took // COOLDOWN
        assert await status(process, known()) == 200
    held(f"{size} unknown key ids in {took:.1f} s: {len(issuer.asked) - 1} fetches beside the first")


async def goes_on(process: Process, client: Client, text: str) -> None:
    """A publisher and a stream whose keys are at hand notice nothing."""
    body = json.dumps({"to": "all", "data": text}).encode()
    assert (await process.ask("/sse/publish", method="POST", body=body)).status == 200
    assert await client.data() == text


@sizes(short=LIES[:2], long=LIES + DELAYS)
@pytest.mark.gen_test(timeout=120)
async def test_a_key_server_that_lies_or_hangs_stalls_nobody(size: list[str], held: Callable[[str], None]) -> None:
    """As long as it never told a key, tokens that want one are answered 503; then theirs are good at once."""
    async with site() as (issuer, url):
        issuer.mood = size[0]
        async with served(jwks_url=f"{url}/moody") as process:
            client = await process.opened()
            for mood in size:
                issuer.mood, fetches = mood, len(issuer.asked)
                waiting: list[asyncio.Task[int]] = []
                while len(issuer.asked) == fetches:
                    waiting.append(asyncio.create_task(status(process, known())))
                    await goes_on(process, client, mood)
                await goes_on(process, client, f"{mood}, still")
                if mood in DELAYS:
                    assert not waiting[-1].done()
                assert set(await asyncio.gather(*waiting)) == {503}
            issuer.mood = "good"
            await until_good(process)
            assert {line["event"] for line in process.log} <= {"listening", "jwks_fetch_failed"}
    held(f"{', '.join(size)}: publishing and delivery went on; then the right key was taken")


async def until_good(process: Process) -> None:
    async with asyncio.timeout(10):
        while await status(process, known()) != 200:
            await asyncio.sleep(0.05)

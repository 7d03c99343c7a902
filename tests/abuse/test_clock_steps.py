"""The attack: whoever sets the machine's clock (an operator, NTP after a long sleep, a leap second) moves unix time.

libfaketime moves it for the server's process alone; its monotonic clock goes on, as it does on a real machine.
"""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from abuse_support import sizes
from client_support import Client
from serve_support import Process, served

HOUR = 3600
LEAP = 1
MINUTE = 60


@dataclass
class Skewed:
    """A server whose clock can be set."""

    process: Process
    file: Path

    def set_clock(self, ahead: float) -> None:
        """Set it so many seconds ahead of ours, all at once; our tokens go by it."""
        self.process.now = lambda: time.time() + ahead
        beside = self.file.with_suffix(".new")
        beside.write_text(f"{ahead:+}\n")
        beside.rename(self.file)

    async def publish(self, text: str, **fields: object) -> str:
        """Publish to all, and return the position."""
        body = json.dumps({"to": "all", "data": text} | fields).encode()
        answer = await self.process.ask("/sse/publish", method="POST", body=body)
        return str(answer.json()["receipts"][0]["position"])

    async def why_not(self, headers: dict[str, str]) -> str | None:
        """Why a connect with this credential is refused; None: it is not."""
        answer = await self.process.ask("/sse/connect/other", headers, method="HEAD", user=None)
        assert (answer.status == 401) == ("www-authenticate" in answer.headers)
        return answer.headers.get("www-authenticate", "").rpartition("error_description=")[2] or None


Skew = Callable[[], AbstractAsyncContextManager[Skewed]]


@pytest.fixture
def skewed(need_program: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Skew:
    """Serve with a clock of its own."""
    need_program("faketime")
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    file = tmp_path / "clock"

    @asynccontextmanager
    async def serve() -> AsyncIterator[Skewed]:
        file.write_text("+0\n")
        with monkeypatch.context() as there:
            there.setenv("LD_PRELOAD", str(library))
            there.setenv("FAKETIME_TIMESTAMP_FILE", str(file))
            there.setenv("FAKETIME_NO_CACHE", "1")
            there.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            async with served(keepalive=0.05, history_ttl=5 * MINUTE) as process:
                yield Skewed(process, file)

    return serve


async def keepalives(client: Client, count: int) -> None:
    """Read so many of them, and nothing else."""
    for _ in range(count):
        assert (await client.next_block()).comment


STEPS = [-HOUR, HOUR, 0, HOUR, -HOUR, LEAP, 0, -LEAP, 0]


@sizes(STEPS[:2], STEPS * 5)
@pytest.mark.gen_test(timeout=300)
async def test_streams_history_and_duplicates_go_by_the_clock_that_nobody_sets(
    skewed: Skew, held: Callable[[str], None], size: list[int]
) -> None:
    async with skewed() as server:
        client = await server.process.opened(ttl=3 * HOUR)
        first = await server.publish("first", idempotencyKey="once")
        assert await client.data() == "first"
        for number, ahead in enumerate(size):
            server.set_clock(ahead)
            await keepalives(client, 5)
            assert await server.publish("first", idempotencyKey="once") == first
            await server.publish(str(number))
            assert await client.data() == str(number)
        back = await server.process.connect(headers={"Last-Event-ID": first}, ttl=3 * HOUR)
        assert [await back.data() for _ in size] == [str(number) for number in range(len(size))]
    held(f"{len(size)} steps: keepalives went on, no message was lost, none came twice")


@pytest.mark.gen_test(timeout=30)
async def test_tokens_go_by_unix_time(skewed: Skew) -> None:
    async with skewed() as server:
        process = server.process
        short, long = process.bearer(ttl=10 * MINUTE), process.bearer(ttl=3 * HOUR)
        ending = await process.opened("s1", headers=short)
        staying = await process.opened("s2", headers=long)
        for leap in (LEAP, -LEAP):
            server.set_clock(leap)
            assert [await server.why_not(token) for token in (short, long)] == [None, None]
        server.set_clock(HOUR)
        assert (await ending.event()).json() == {"reason": "expired", "reconnect": False}
        assert [await server.why_not(token) for token in (short, long)] == ['"the token has expired"', None]
        server.set_clock(-HOUR)
        assert [await server.why_not(token) for token in (short, long)] == ['"the token is not valid yet"'] * 2
        await keepalives(staying, 5)
        server.set_clock(0)
        assert [await server.why_not(token) for token in (short, long)] == [None, None]

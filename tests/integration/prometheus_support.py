"""A real Prometheus with our rules, its clock wound up: what is minutes in the rules is seconds here."""

import asyncio
import math
import re
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from nats_support import free_port
from promtool_support import RULES

JOB = "tornado-sse"
DEADLINE = 90.0
"""Seconds until what does not come true fails a test, on a machine that has other things to do."""

HASTE = 60
"""How many times faster than in production rules look at things."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Series = dict[str, Any]


def scaled(text: str, haste: float) -> str:
    """Shorten every duration of a file of rules, those of windows and of `for` alike."""

    def shorter(match: re.Match[str]) -> str:
        return f"{match[1]}{round(int(match[2]) * UNITS[match[3]] * 1000 / haste)}ms{match[4]}"

    return re.sub(r"(\[|for: )(\d+)([smhd])(\]|$)", shorter, text, flags=re.MULTILINE)


def config(rules: Collection[Path], admin_port: int, every: int) -> dict[str, Any]:
    """Make a configuration that scrapes an admin listener, `every` so many seconds."""
    targets = [f"127.0.0.1:{admin_port}"]
    return {
        "global": {"scrape_interval": f"{every}s", "scrape_timeout": f"{every}s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": targets}]}],
    }


class Prometheus:
    """A running Prometheus, to be asked."""

    def __init__(self, port: int) -> None:
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE)

    async def ask(self, path: str, **params: object) -> Any:
        answer = await self._http.get(path, params={name: str(value) for name, value in params.items()})
        answer.raise_for_status()
        return answer.json()["data"]

    async def now(self, expr: str) -> list[Series]:
        """Evaluate an expression; return its series, without those that are no number."""
        found = (await self.ask("/api/v1/query", query=expr))["result"]
        return [series for series in found if not math.isnan(float(series["value"][1]))]

    async def between(self, expr: str, start: float, end: float) -> list[Series]:
        """Evaluate an expression at every second from `start` to `end`, in unix time."""
        found: list[Series] = (await self.ask("/api/v1/query_range", query=expr, start=start, end=end, step=1))[
            "result"
        ]
        return found

    async def alerts(self) -> dict[str, dict[str, Any]]:
        """Return the alerts that fire, by name without what they all begin with."""
        found = (await self.ask("/api/v1/alerts"))["alerts"]
        assert "<error expanding template" not in str(found)
        return {one["labels"]["alertname"].removeprefix("TornadoSse"): one for one in found if one["state"] == "firing"}

    async def until(self, condition: Callable[[Collection[str]], bool]) -> None:
        """Wait until the alerts that fire are as wanted."""
        firing: Collection[str] = ()
        try:
            async with asyncio.timeout(DEADLINE):
                while not condition(firing := (await self.alerts()).keys()):
                    await asyncio.sleep(0.2)
        except TimeoutError as error:
            raise AssertionError(f"these fire: {sorted(firing)}") from error

    async def missing(self, exprs: Collection[str]) -> set[str]:
        """Wait until all of these have data; return those that have none in the end."""
        left = set(exprs)
        deadline = asyncio.get_running_loop().time() + DEADLINE / 3
        while left and asyncio.get_running_loop().time() < deadline:
            left = {expr for expr in left if not await self.now(expr)}
            await asyncio.sleep(0.2)
        return left

    async def close(self) -> None:
        await self._http.aclose()


@asynccontextmanager
async def prometheus(program: str, folder: Path, admin_port: int, every: int = 1) -> AsyncIterator[Prometheus]:
    """Run it until the block ends, scraping `every` so many seconds."""
    rules = [folder / path.name for path in RULES]
    for fast, path in zip(rules, RULES, strict=True):
        fast.write_text(scaled(path.read_text(), HASTE))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config(rules, admin_port, every)))
    port = free_port()
    flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    flags += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    running = await asyncio.create_subprocess_exec(program, *flags, stdout=DEVNULL)
    asked = Prometheus(port)
    try:
        await _until_ready(asked)
        yield asked
    finally:
        await asked.close()
        running.terminate()
        await running.wait()


async def _until_ready(asked: Prometheus) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await asked.ask("/api/v1/status/buildinfo")
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
            else:
                return

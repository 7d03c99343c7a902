"""Clients and publishers at a cluster, from the first connect to the verdict, whatever befalls it meanwhile."""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos_checker import Checker, Verdict
from chaos_client import ChaosClient, Run
from chaos_cluster import Cluster
from chaos_history import Account, Sent
from chaos_publisher import Publisher, tally
from tornado_sse.position import Position

PUBLISHERS = 4

CONNECTS = 400
"""Clients that connect for the first time, in a second."""

CATCH_UP = 60.0
"""Seconds in which the clients must have the last message."""

SHOWN = 10
"""Most complaints of a summary."""


@dataclass
class Outcome:
    """What came of a run. `problems` are lines that nodes logged and that nothing explains."""

    sent: list[Sent]
    accounts: list[Account]
    verdict: Verdict
    figures: Counter[str]
    problems: list[dict[str, Any]]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict.passed and not self.problems

    def summary(self) -> Iterator[str]:
        """Tell the figures, and the verdict."""
        verdict = self.verdict
        yield f"published: {_listed(tally(self.sent))}"
        yield f"answers to publishers, ends of streams: {_listed(self.figures)}"
        yield (
            f"received: {verdict.received} messages, {verdict.owed} owed; "
            f"{verdict.gaps} gaps told of {verdict.told} messages"
        )
        yield ", ".join(f"{fault} {count}" for fault, count in verdict.counts().items())
        yield from (f"  {one.who}: {one.fault}: {one.text}" for one in verdict.complaints[:SHOWN])
        yield from (f"  logged: {json.dumps(problem)}" for problem in self.problems[:SHOWN])
        yield "PASSED" if self.passed else "FAILED"

    def details(self) -> Iterator[str]:
        """Tell all that is wrong, what was published, and all that the clients saw."""
        yield from ("complaints:", *(f"{one.who}: {one.fault}: {one.text}" for one in self.verdict.complaints))
        yield from ("logged:", *map(json.dumps, self.problems))
        yield "published:"
        yield from (f"{one.position} {one.data} to {list(one.targets)}, tries: {one.tries}" for one in self.sent)
        yield "stories:"
        yield from (line for account in self.accounts for line in account.story())


async def play(
    cluster: Cluster, run: Run, *, seed: str, clients: int, rate: float, storm: Callable[[], Awaitable[None]]
) -> Outcome:
    """Have clients listen and publishers publish, `rate` messages a second, until the storm is over; then judge."""
    crowd = [ChaosClient(number, clients, seed, run) for number in range(clients)]
    publishers = [Publisher(number, clients, seed, run) for number in range(PUBLISHERS)]
    following = [asyncio.create_task(_follow_later(client, n / CONNECTS)) for n, client in enumerate(crowd)]
    try:
        await asyncio.sleep(clients / CONNECTS)
        await publish_during(storm, publishers, rate)
        last = await publishers[0].finish()
        await asyncio.wait(following, timeout=CATCH_UP)
    finally:
        for task in following:
            task.cancel()
        ends = await asyncio.gather(*following, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end
    return _judge(cluster, run, crowd, publishers, last)


async def _follow_later(client: ChaosClient, delay: float) -> None:
    await asyncio.sleep(delay)
    await client.follow()


async def publish_during(storm: Callable[[], Awaitable[None]], publishers: Sequence[Publisher], rate: float) -> None:
    """Have them publish, `rate` messages a second together, until the storm is over."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for publisher in publishers:
            group.create_task(publisher.publish_until(over.is_set, rate / len(publishers)))
        await storm()
        over.set()


def _judge(
    cluster: Cluster, run: Run, crowd: Sequence[ChaosClient], publishers: Sequence[Publisher], last: Position
) -> Outcome:
    sent = [one for publisher in publishers for one in publisher.sent]
    accounts = [client.account for client in crowd]
    problems = [{"node": node.name} | line for node in cluster.nodes for line in node.problems()]
    return Outcome(sent, accounts, Checker(sent, last).check(accounts), run.figures, problems)


def write_details(folder: Path, *parts: Iterable[str]) -> None:
    """Write lines to a file in the folder: of a long run there are a million."""
    with gzip.open(folder / "details.txt.gz", "wt", compresslevel=1) as file:
        file.writelines(f"{line}\n" for part in parts for line in part)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

"""Streams cut at random for ten seconds: with enough history nothing is missed, with too little nothing silently.

`RESUME_SEED` repeats what a run drew by chance, `RESUME_SECONDS` makes it shorter or longer.
"""

import asyncio
import json
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass

import pytest

from process_support import server_process
from resume_check import Judge
from resume_support import Client, Connection, Run, weather
from sse_parser import Block

SECONDS = float(os.environ.get("RESUME_SECONDS", "10"))
SEED = os.environ.get("RESUME_SEED") or secrets.token_hex(4)
STREAMS = 200

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Storm:
    """A run against a server that keeps so many messages of each topic, and its judge."""

    run: Run
    judge: Judge
    reasons: Counter[str]

    def holes(self) -> int:
        return sum(self.judge.holes(client) for client in self.run.clients)

    def resumes(self) -> int:
        return sum(self.judge.check_openings(client) for client in self.run.clients)


def let_loose(*, history_size: int, slow_policy: str, pause: float) -> Storm:
    """Run a storm; `pause` is how many seconds a cut client stays away, on average."""
    with server_process(
        compression="true",
        history_size=history_size,
        max_message_bytes=10240,
        max_streams_per_user=0,
        outbox_bytes=20480,
        slow_policy=slow_policy,
    ) as server:
        run = asyncio.run(weather(server.url, seed=SEED, streams=STREAMS, seconds=SECONDS, pause=pause))
    assert server.problems() == []
    reasons = Counter(line["reason"] for line in server.log if line["event"] == "stream closed")
    storm = Storm(run, Judge(run.ledger, history_size), reasons)
    print(describe(storm))  # noqa: T201 - pytest shows it with a failure: the seed, and what happened
    return storm


def describe(storm: Storm) -> str:
    blocks = [block for _, blocks in connections(storm.run.clients) for block in blocks]
    gaps = Counter(json.loads(block.data or "")["reason"] for block in blocks if block.name == "stream-gap")
    ledger = storm.run.ledger
    return (
        f"RESUME_SEED={SEED} RESUME_SECONDS={SECONDS:g}: {len(ledger.messages)} messages and {ledger.duplicates} "
        f"duplicates published, {len(blocks)} blocks received; gaps told: {dict(gaps)}; "
        f"connections: {dict(storm.run.figures)}; closed: {dict(storm.reasons)}"
    )


def connections(clients: list[Client]) -> Iterator[tuple[Client, list[Block]]]:
    for client in clients:
        for connection in client.connections:
            yield client, connection.blocks


@pytest.fixture(scope="module")
def ample() -> Storm:
    return let_loose(history_size=1_000_000, slow_policy="disconnect", pause=0.05)


@pytest.fixture(scope="module")
def scarce() -> Storm:
    return let_loose(history_size=10, slow_policy="drop-oldest", pause=0.5)


def test_with_enough_history_every_client_gets_every_message_once_and_in_order(ample: Storm) -> None:
    assert ample.holes() == 0
    assert ample.resumes() > STREAMS / 4
    assert ample.run.ledger.duplicates


def test_with_too_little_history_every_hole_is_told_and_no_other(scarce: Storm) -> None:
    assert scarce.holes() > 0
    assert scarce.resumes() > STREAMS / 4


def test_the_storm_is_one(ample: Storm) -> None:
    """Cuts come before the first byte, in the middle, and in silence; by RST and by FIN."""
    for outcome in ("cut by size", "cut by time", "lulls", "nothing read"):
        assert ample.run.figures[outcome] > STREAMS / 20, outcome
    assert ample.run.figures["finished"] == STREAMS
    assert ample.reasons.total() > STREAMS


Fault = Callable[[list[Block], int], None]
"""Spoils what a client recorded, at one of its blocks."""


def drop(blocks: list[Block], index: int) -> None:
    del blocks[index]


def repeat(blocks: list[Block], index: int) -> None:
    blocks.insert(index, blocks[index])


def swap(blocks: list[Block], index: int) -> None:
    blocks[index - 1], blocks[index] = blocks[index], blocks[index - 1]


def change(blocks: list[Block], index: int) -> None:
    blocks[index] = blocks[index]._replace(data=f"{blocks[index].data} ")


def widen(blocks: list[Block], index: int) -> None:
    gap = json.loads(blocks[index].data or "")
    blocks[index] = blocks[index]._replace(data=json.dumps(gap | {"to": f"{gap['to']}0"}))


def delay(blocks: list[Block], index: int) -> None:
    blocks.append(blocks.pop(index))


def spoiled(storm: Storm, fault: Fault, *, every: int, gaps: bool) -> list[Client]:
    """Copy some clients, with the fault in each so many of the messages that they recorded, or of the gaps."""
    clients = [copy(client) for client in storm.run.clients[:40]]
    for client in clients:
        client.connections = [Connection(each.after, list(each.blocks)) for each in client.connections]
    places = [
        (blocks, index)
        for _, blocks in connections(clients)
        for index, block in enumerate(blocks)
        if block.data is not None and block.id and (block.name == "stream-gap") is gaps
    ]
    for blocks, index in reversed(places[::every]):
        fault(blocks, index)
    return clients


@pytest.mark.parametrize("fault", [drop, repeat, swap, change])
def test_one_spoiled_message_in_a_thousand_is_noticed(ample: Storm, fault: Fault) -> None:
    clients = spoiled(ample, fault, every=1000, gaps=False)
    with pytest.raises(AssertionError, match=r"missing|came twice|was changed"):
        [ample.judge.holes(client) for client in clients]


@pytest.mark.parametrize("fault", [drop, delay])
def test_a_gap_told_late_or_never_is_noticed(scarce: Storm, fault: Fault) -> None:
    clients = spoiled(scarce, fault, every=10, gaps=True)
    with pytest.raises(AssertionError, match="no gap says so"):
        [scarce.judge.holes(client) for client in clients]


@pytest.mark.parametrize("fault", [drop, repeat, widen])
def test_a_gap_that_is_not_what_was_lost_is_noticed(scarce: Storm, fault: Fault) -> None:
    clients = spoiled(scarce, fault, every=10, gaps=True)
    with pytest.raises(AssertionError, match="was lost"):
        [scarce.judge.check_openings(client) for client in clients]

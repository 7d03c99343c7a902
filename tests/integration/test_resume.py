"""Streams cut at random for ten seconds: with enough history nothing is missed, with too little nothing silently."""

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from process_support import server_process
from resume_check import Judge
from resume_load import seeded
from resume_support import Client, Connection, Run, weather

SECONDS = float(os.environ.get("RESUME_SECONDS", "10"))
SEED = os.environ.get("RESUME_SEED") or secrets.token_hex(4)
STREAMS = 200
AMPLE = 1_000_000
SCARCE = 12


def storm(history_size: int, pause: float) -> Run:
    settings = {"history_size": history_size, "max_streams_per_user": 0, "compression": True, "max_message_bytes": 16384, "outbox_bytes": 32768}
    with server_process(**settings) as server:
        run = asyncio.run(weather(server.url, seed=SEED, streams=STREAMS, seconds=SECONDS, pause=pause))
    assert server.problems() == []
    closed = Counter(line["reason"] for line in server.log if line["event"] == "stream closed")
    print(f"RESUME_SEED={SEED} RESUME_SECONDS={SECONDS}", dict(run.figures), "closed:", dict(closed))  # noqa: T201
    deliveries = sum(len(connection.blocks) for client in run.clients for connection in client.connections)
    print(f"{len(run.ledger.messages)} messages, {deliveries} blocks, {run.ledger.duplicates} duplicates")
    return run


def test_nothing_is_missed():
    import time
    t=time.time()
    run = storm(AMPLE, 0.05)
    print("storm", time.time()-t)
    judge = Judge(run.ledger, AMPLE)
    assert [judge.holes(client) for client in run.clients] == [0] * STREAMS
    print("checked", sum(judge.check_openings(client) for client in run.clients))
    print("total", time.time()-t)

def test_every_hole_is_told():
    import time
    t=time.time()
    run = storm(SCARCE, 0.3)
    print("storm", time.time()-t)
    judge = Judge(run.ledger, SCARCE)
    holes = [judge.holes(client) for client in run.clients]
    print("holes", sum(holes), sum(map(bool, holes)))
    print("checked", sum(judge.check_openings(client) for client in run.clients))
    print("total", time.time()-t)

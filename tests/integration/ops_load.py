"""Everyday load on a server: pages that listen, come and go and resume, and a backend that publishes."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from client_support import Client
from server_support import Target

PAGES = 20
PUBLISH_EVERY = 0.05
LEAVE_AFTER = 30
"""Messages that a page reads until it is closed, and opened anew."""

BODY = {"Content-Type": "application/json"}
BROKEN = (OSError, AssertionError, TimeoutError)
"""What a client meets while a fault is on: the load goes on when it is over."""


async def ask(target: Target, path: str, headers: dict[str, str], **options: Any) -> None:
    """Make one request, and keep nothing of it; whether it is answered is not looked at."""
    own = Target(target.port, target.admin_port, target.now)
    try:
        with suppress(*BROKEN):
            await own.ask(path, headers, **options)
    finally:
        own.close_clients()


async def publish(target: Target, to: object = "all", data: str = "hello") -> None:
    """Publish one message."""
    body = json.dumps({"to": to, "data": data}).encode()
    await ask(target, "/sse/publish", BODY, method="POST", body=body)


async def page(target: Target, number: int) -> None:
    """Listen, go away, and come back with the last event id, again and again."""
    last = ""
    while True:
        with suppress(*BROKEN):
            client = await target.connect(f"s{number}", user=f"u{number % 7}", headers={"Last-Event-ID": last})
            try:
                last = await read(client, LEAVE_AFTER) or last
            finally:
                client.close()
                target.clients.remove(client)
        await asyncio.sleep(0.1)


async def read(client: Client, events: int) -> str:
    """Read so many blocks, or to the end; return the last event id."""
    last = ""
    for _ in range(events):
        block = await client.block()
        if block is None:
            break
        last = block.id or last
    return last


async def backend(target: Target) -> None:
    """Publish to all and to users, in turn."""
    number = 0
    while True:
        number += 1
        await publish(target, "all" if number % 2 else {"user": f"u{number % 7}"}, f"message {number}")
        await asyncio.sleep(PUBLISH_EVERY)


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let work go on in the background until the block ends."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome


def load(target: Target) -> Any:
    """Put everyday load on a server."""
    return running(backend(target), *(page(target, number) for number in range(PAGES)))

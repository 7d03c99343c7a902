"""Publishers that never pause: what nobody acknowledged they send again, with the same idempotency key."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from chaos_client import CHANNELS, END, SESSIONS, Run, users
from chaos_history import Sent
from resume_load import seeded
from server_support import token
from tornado_sse import topic
from tornado_sse.position import Position, parse
from tornado_sse.topic import Topic

PATIENCE = 5.0
"""Seconds that an answer may take."""

GIVE_UP = 60.0
"""Seconds after which the outcome stays unknown: well below the time for which keys are remembered."""

BATCH = 5
"""Most messages of one request."""


class Publisher:
    """Sends one request after the other, `rate` messages a second, to all kinds of topics."""

    def __init__(self, number: int, clients: int, seed: str, run: Run) -> None:
        self._rng = seeded(seed, "publisher", number)
        self._name = f"p{number}"
        self._users = users(clients)
        self._run = run
        self._token = token("backend")
        self.sent: list[Sent] = []

    async def publish_until(self, over: Callable[[], bool], rate: float) -> None:
        """Publish until it is over."""
        while not over():
            batch = [self._draw() for _ in range(self._rng.randint(1, BATCH))]
            self.sent += batch
            due = self._run.now() + len(batch) / rate
            await self.send(batch)
            await asyncio.sleep(max(0.0, due - self._run.now()))

    async def finish(self) -> Position:
        """Publish the last message of all; return where it is."""
        last = Sent((topic.ALL,), f"{self._name} the end")
        await self.send([last], event=END)
        assert last.position, "the last message was never acknowledged"
        return last.position

    async def send(self, batch: Sequence[Sent], event: str | None = None) -> None:
        """Send until each is acknowledged, or it is time to give up."""
        started, figures = self._run.now(), self._run.figures
        while self._run.now() < started + GIVE_UP:
            for one in batch:
                one.tries += 1
            outcome = await self._try(batch, event)
            figures[f"publish {outcome}"] += 1
            if outcome == "200":
                return
            await asyncio.sleep(self._rng.uniform(0.05, 0.4))

    def _draw(self) -> Sent:
        targets = tuple({self._target(): None for _ in range(self._rng.choice((1,) * 9 + (2, 3)))})
        number = f"{self._name}.{len(self.sent)}.{self._rng.randrange(10**9)}"
        return Sent(targets, number + "x" * self._rng.choice((0, 20, 200)))

    def _target(self) -> Topic:
        user = self._rng.choice(self._users)
        kind = self._rng.choices(("user", "session", "channel", "all"), (40, 30, 25, 5))[0]
        match kind:
            case "user":
                return topic.user(user)
            case "session":
                return topic.session(user, f"s{self._rng.randrange(SESSIONS)}")
            case "channel":
                return topic.channel(self._rng.choice(CHANNELS))
        return topic.ALL

    async def _try(self, batch: Sequence[Sent], event: str | None) -> str:
        items = [{"to": _to(one.targets), "data": one.data, "idempotencyKey": one.data} for one in batch]
        body = json.dumps([item | ({"event": event} if event else {}) for item in items]).encode()
        try:
            async with asyncio.timeout(PATIENCE):
                status, answer = await self._post(body)
        except (OSError, EOFError, TimeoutError) as error:
            return type(error).__name__
        if status == "200":
            self._enter(batch, json.loads(answer)["receipts"])
        return status

    @staticmethod
    def _enter(batch: Sequence[Sent], receipts: Sequence[dict[str, Any]]) -> None:
        for one, receipt in zip(batch, receipts, strict=True):
            one.position = parse(receipt["position"])
            assert one.position, receipt

    async def _post(self, body: bytes) -> tuple[str, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._run.port)
        try:
            head = f"POST /sse/publish HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {self._token}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"\r\ncontent-length: (\d+)", answer, re.IGNORECASE)
            return answer.split(" ")[1], await reader.readexactly(int(length[1])) if length else b""
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


def tally(sent: Sequence[Sent]) -> Counter[str]:
    """Count what became of messages."""
    return Counter(
        "unknown" if one.position is None else "acknowledged at once" if one.tries == 1 else "acknowledged later"
        for one in sent
    )


def _to(targets: Sequence[Topic]) -> object:
    return [_single(target) for target in targets] if len(targets) > 1 else _single(targets[0])


def _single(target: Topic) -> object:
    match target.kind:
        case "all":
            return "all"
        case "session":
            return {"user": target.name, "session": target.session}
    return {target.kind: target.name}

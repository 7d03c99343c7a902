"""Publishers without a pause, and the ledger of what the server's receipts say."""

import asyncio
import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

END = "end-of-the-test"
"""Name of the last event, which goes to all."""

Target = tuple[str, ...]
"""`("all",)`, `("user", U)`, `("session", U, S)` or `("channel", C)`."""

ALL: Target = ("all",)
USERS = tuple(f"user-{number}" for number in range(20))
CHANNELS = tuple(f"channel {number} \u00e9" for number in range(8))
NAMES = (None, None, "order", "note", "д\u2028нь")
TEXTS = (
    "plain",
    "two\nlines",
    "crlf\r\nand cr\rends",
    "\u2028\u0085 \U0001f600 \x00",
    " space",
    "data: x\n\nid: 9-9\n\n",
)


def seeded(*parts: object) -> random.Random:
    """Return a generator of its own for each part of a run, so that none disturbs another."""
    return random.Random("/".join(map(str, parts)))  # noqa: S311 - to be repeated, not to be secret


@dataclass(frozen=True)
class Published:
    """A message as its publisher knows it; `name` and `data` are what is to arrive."""

    targets: tuple[Target, ...]
    name: str
    data: str


@dataclass
class Ledger:
    """All messages by sequence, in the one epoch."""

    messages: dict[int, Published] = field(default_factory=dict)
    duplicates: int = 0
    epochs: set[str] = field(default_factory=set)

    def sequence(self, position: str) -> int:
        epoch, _, sequence = position.partition("-")
        self.epochs.add(epoch)
        return int(sequence)

    def enter(self, published: Published, receipt: dict[str, Any]) -> int:
        sequence = self.sequence(receipt["position"])
        if receipt["duplicate"]:
            self.duplicates += 1
            assert self.messages[sequence] == published
        else:
            assert sequence not in self.messages, f"position {sequence} was given twice"
            self.messages[sequence] = published
        return sequence

    def by_topic(self) -> dict[Target, list[int]]:
        """Sequences of each topic, in order."""
        topics: dict[Target, list[int]] = defaultdict(list)
        for sequence in sorted(self.messages):
            for target in self.messages[sequence].targets:
                topics[target].append(sequence)
        return topics


Item = tuple[dict[str, Any], Published]


class Publisher:
    """Sends one request after the other: a message, an array, NDJSON; now and then a message for the second time."""

    def __init__(self, index: int, seed: str, ledger: Ledger) -> None:
        self._rng = seeded(seed, "publisher", index)
        self._index = index
        self._ledger = ledger
        self._numbers = count()
        self._last = 0
        self._known: list[Item] = []

    async def run(self, port: int, token: str, until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        now = asyncio.get_running_loop().time
        while now() < until:
            await self._publish(self._items(), reader, writer, token)
        writer.close()
        await writer.wait_closed()

    async def finish(self, port: int, token: str) -> None:
        """Publish the last message."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        last = Published((ALL,), END, "")
        await self._publish([({"to": "all", "event": END, "data": ""}, last)], reader, writer, token)
        writer.close()
        await writer.wait_closed()

    async def _publish(
        self, items: Sequence[Item], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
    ) -> None:
        media_type, body = self._body([item for item, _ in items])
        head = f"POST /sse/publish HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        receipts = await _answer(reader)
        assert [receipt["index"] for receipt in receipts] == list(range(len(items)))
        for (item, published), receipt in zip(items, receipts, strict=True):
            sequence = self._ledger.enter(published, receipt)
            if not receipt["duplicate"]:
                assert sequence > self._last, "positions go back"
                self._last = sequence
                if "idempotencyKey" in item:
                    self._known.append((item, published))

    def _items(self) -> list[Item]:
        size = self._rng.choice((1, 2, 5, 20, 60))
        return [self._known_item() if self._rng.random() < 0.02 else self._fresh_item() for _ in range(size)]

    def _known_item(self) -> Item:
        return self._rng.choice(self._known) if self._known else self._fresh_item()

    def _fresh_item(self) -> Item:
        rng, number = self._rng, f"{self._index}.{next(self._numbers)}"
        targets = self._targets()
        text = f"{number} {rng.choice(TEXTS)}{'x' * rng.choice((0, 0, 0, 50, 300))}"
        text += "y" * 9000 * (rng.random() < 0.01)
        data: object = text if rng.random() < 0.5 else {"n": number, "text": text}
        item: dict[str, Any] = {"to": _to(targets), "data": data}
        name = rng.choice(NAMES)
        if name is not None:
            item["event"] = name
        if rng.random() < 0.1:
            item["idempotencyKey"] = number
        arrives = re.sub("\r\n?", "\n", text) if data is text else json.dumps(data, ensure_ascii=False)
        return item, Published(targets, name or "message", arrives)

    def _targets(self) -> tuple[Target, ...]:
        several = self._rng.random() < 0.15
        return tuple({self._target(): None for _ in range(self._rng.randint(2, 4) if several else 1)})

    def _target(self) -> Target:
        rng = self._rng
        user = rng.choice((*USERS, "nobody"))
        choices: list[Target] = [
            ("user", user),
            ("session", user, f"s{rng.randrange(6)}"),
            ("channel", rng.choice(CHANNELS)),
        ]
        return ALL if rng.random() < 0.1 else rng.choice(choices)

    def _body(self, items: list[dict[str, Any]]) -> tuple[str, bytes]:
        texts = [json.dumps(item, ensure_ascii=False) for item in items]
        if len(texts) == 1 and self._rng.random() < 0.5:
            return "application/json", texts[0].encode()
        if self._rng.random() < 0.5:
            return "application/json", f"[{','.join(texts)}]".encode()
        return "application/x-ndjson", "\n".join(texts).encode()


def _to(targets: tuple[Target, ...]) -> object:
    single = ["all" if target == ALL else dict(zip(_FIELDS[target[0]], target[1:], strict=True)) for target in targets]
    return single if len(single) > 1 else single[0]


_FIELDS = {"user": ("user",), "session": ("user", "session"), "channel": ("channel",)}


async def _answer(reader: asyncio.StreamReader) -> list[dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = re.search(r"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    assert length
    body = await reader.readexactly(int(length[1]))
    assert head.startswith("HTTP/1.1 200 "), body
    receipts: list[dict[str, Any]] = json.loads(body)["receipts"]
    return receipts

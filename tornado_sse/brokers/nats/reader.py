"""Reading the stream: how it stands, and what it holds.

What was read of a subject is held against the bound of messages kept for each: JetStream discards without a trace.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from tornado_sse.brokers.nats.codec import Parcel
from tornado_sse.brokers.nats.layout import Layout
from tornado_sse.brokers.nats.link import STATUS, Link
from tornado_sse.errors import Unavailable

BATCH = 500
"""Messages asked for at once when all subjects are read."""

PATIENCE = 40
"""How often a replica that is behind is asked again for messages that are there."""

PAUSE = 0.05
"""Seconds between."""

NO_STREAM = 10059
"""The JetStream API's error for a stream that is not there."""


class Info(NamedTuple):
    """How a stream stands: its configuration, its sequences, and which server leads it (empty: there is but one)."""

    config: dict[str, Any]
    first: int
    last: int
    leader: str


class Stored(NamedTuple):
    """A message as the stream holds it; `time` is when it came, as RFC 3339 has it."""

    sequence: int
    time: str
    parcel: Parcel

    @property
    def subject(self) -> str:
        """The subject, without the prefix."""
        return self.parcel.subject


class Kept(NamedTuple):
    """What is kept of a subject: messages above a sequence, up to the newest, and `lost`, up to where some may be."""

    messages: list[Stored]
    lost: int


class Reader:
    """Reads the stream over one connection."""

    def __init__(self, link: Link, layout: Layout) -> None:
        self._link = link
        self._layout = layout

    async def info(self) -> Info | None:
        """Ask the stream's leader how it stands; None: there is no such stream. Raises Unavailable."""
        answer = await self._link.ask(f"$JS.API.STREAM.INFO.{self._layout.name}", None)
        if error := answer.get("error"):
            if error["err_code"] == NO_STREAM:
                return None
            raise Unavailable(f"NATS: {error['description']}")
        state = answer["state"]
        leader = (answer.get("cluster") or {}).get("leader", "")
        return Info(answer["config"], state["first_seq"], state["last_seq"], leader)

    async def present(self) -> Info:
        """Ask how the stream stands. Raises Unavailable, also if there is no such stream."""
        info = await self.info()
        if info is None:
            raise Unavailable("NATS: the stream is gone")
        return info

    async def everything(self, after: int, upto: int) -> AsyncIterator[list[Stored]]:
        """Read all subjects in batches, none empty, `after < sequence <= upto`. Raises Unavailable."""
        patience = PATIENCE if self._layout.replicas > 1 else 0
        while after < upto:
            ((found, _),) = await self._read([{"seq": after + 1, "batch": BATCH}])
            if batch := [one for one in found if one.sequence <= upto]:
                yield batch
                after = batch[-1].sequence
            elif patience and not found:
                patience -= 1
                await asyncio.sleep(PAUSE)
            else:
                return

    async def subjects(self, names: Sequence[str], after: int) -> list[Kept]:
        """Read each of the subjects above a sequence. Raises Unavailable.

        A batch is read between two writes, so what it holds was kept at one moment.
        """
        kept = {name: Kept([], 0) for name in names}
        seen = dict.fromkeys(names, after)
        while seen:
            requests = [
                {"seq": last + 1, "next_by_subj": self._layout.stored + name, "batch": self._layout.kept + 1}
                for name, last in seen.items()
            ]
            ends = {}
            for name, (batch, more) in zip(list(seen), await self._read(requests), strict=True):
                kept[name] = _add(kept[name], batch, is_full=len(batch) + more >= self._layout.kept)
                seen[name] = batch[-1].sequence if batch else seen[name]
                if not more:
                    ends[name] = seen[name]
            for name in ends.keys() - await self._unread(ends):
                del seen[name]
        return list(kept.values())

    async def _unread(self, ends: Mapping[str, int]) -> set[str]:
        """Ask the leader, who alone knows the newest messages, where a replica may have answered that is behind."""
        if self._layout.replicas == 1:
            return set()
        subject = f"$JS.API.STREAM.MSG.GET.{self._layout.name}"
        requests = [{"seq": end + 1, "next_by_subj": self._layout.stored + name} for name, end in ends.items()]
        answers = await asyncio.gather(*(self._link.ask(subject, request) for request in requests))
        return {name for name, answer in zip(ends, answers, strict=True) if "message" in answer}

    async def _read(self, requests: Sequence[dict[str, Any]]) -> list[tuple[list[Stored], int]]:
        """Put all requests at once; return what each found, and how much more there is."""
        open_requests = len(requests)

        def is_all(messages: list[Msg]) -> bool:
            nonlocal open_requests
            open_requests -= _is_status(messages[-1])
            return not open_requests

        with self._link.expect(is_all) as reply:
            for number, request in enumerate(requests):
                await self._link.send_json(
                    f"$JS.API.DIRECT.GET.{self._layout.name}", request, f"{reply.subject}.{number}"
                )
            messages = await self._link.within(reply.future)
        return [self._batch(messages, f"{reply.subject}.{number}") for number in range(len(requests))]

    def _batch(self, messages: Sequence[Msg], subject: str) -> tuple[list[Stored], int]:
        *found, end = (message for message in messages if message.subject == subject)
        headers = end.headers or {}
        if headers[STATUS] not in ("204", "404"):
            raise Unavailable(f"NATS: {headers[STATUS]} {headers.get('Description', '')}")
        return [self._stored(message) for message in found], int(headers.get("Nats-Num-Pending", "0"))

    def _stored(self, message: Msg) -> Stored:
        headers = message.headers or {}
        parcel = Parcel(headers["Nats-Subject"].removeprefix(self._layout.stored), headers, message.data)
        return Stored(int(headers["Nats-Sequence"]), headers["Nats-Time-Stamp"], parcel)


def _add(kept: Kept, batch: list[Stored], *, is_full: bool) -> Kept:
    """Add a batch of a subject. Where there are as many messages as are kept, older ones may have been discarded."""
    lost = batch[0].sequence - 1 if batch and is_full else kept.lost
    return Kept(kept.messages + batch, lost)


def _is_status(message: Msg) -> bool:
    return message.headers is not None and STATUS in message.headers

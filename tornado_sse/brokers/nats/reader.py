"""Reading the stream: how it stands, and what it holds.

What was read of a subject is held against the bound of messages kept for each: JetStream discards without a trace.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from tornado_sse.brokers.nats.codec import Parcel
from tornado_sse.brokers.nats.layout import Layout
from tornado_sse.brokers.nats.link import STATUS, Link
from tornado_sse.errors import Unavailable

BATCH = 500
"""Messages asked for at once when all subjects are read."""

SUBJECTS = 500
"""Subjects in one question for the newest: NATS answers for 1,024 at most, in a request of a MiB."""

PATIENCE = 40
"""How often a replica that is behind is asked again for messages that are there."""

PAUSE = 0.05
"""Seconds between."""

SUBJECT = "Nats-Subject"
"""Header of a message that is read: its subject."""

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


class Batch(NamedTuple):
    """An answer: messages, and how many more there are.

    `upto` is how far the server is that gave it, if the question was for newest messages and there was any.
    """

    messages: list[Stored]
    more: int
    upto: int | None


class Reader:
    """Reads the stream over one connection. `anchor` is a subject that nearly always has a message."""

    def __init__(self, link: Link, layout: Layout, *, anchor: str) -> None:
        self._link = link
        self._layout = layout
        self._anchor = anchor

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
            ((found, _, _),) = await self._read([{"seq": after + 1, "batch": BATCH}])
            if batch := [one for one in found if one.sequence <= upto]:
                yield batch
                after = batch[-1].sequence
            elif patience and not found:
                patience -= 1
                await asyncio.sleep(PAUSE)
            else:
                return

    async def subjects(self, wanted: Mapping[str, int], upto: int) -> dict[str, Kept]:
        """Read subjects, each above its sequence and all up to `upto`, where there is anything. Raises Unavailable.

        A batch is read between two writes, so what it holds was kept at one moment.
        """
        newest = await self._newest(wanted, upto)
        seen = {name: after for name, after in wanted.items() if newest.get(name, 0) > after}
        kept = {name: Kept([], 0) for name in seen}
        patience = iter(range(PATIENCE))
        while seen:
            requests = [
                {"seq": last + 1, "next_by_subj": self._layout.stored + name, "batch": self._layout.kept + 1}
                for name, last in seen.items()
            ]
            found = dict(zip(seen, await self._read(requests), strict=True))
            for name, (batch, more, _) in found.items():
                kept[name] = _add(kept[name], batch, is_full=len(batch) + more >= self._layout.kept)
                seen[name] = batch[-1].sequence if batch else seen[name]
            seen = {name: last for name, last in seen.items() if found[name].more or last < newest[name]}
            if any(not found[name].more for name in seen):
                await _wait_for_replica(patience)
        return kept

    async def _newest(self, wanted: Mapping[str, int], upto: int) -> dict[str, int]:
        """Return the newest sequence of each subject, where it is above the lowest wanted. Raises Unavailable."""
        names, first = list(wanted), min(wanted.values()) + 1
        parts = (names[start : start + SUBJECTS] for start in range(0, len(names), SUBJECTS))
        found = await asyncio.gather(*(self._newest_from(part, first, upto) for part in parts))
        return {name: sequence for part in found for name, sequence in part.items()}

    async def _newest_from(self, names: Sequence[str], first: int, upto: int) -> dict[str, int]:
        """Ask one question for all, until somebody answers who has everything up to `upto`, as answers say."""
        subjects = [self._layout.stored + name for name in (*names, self._anchor)]
        newest: dict[str, int] = {}
        patience = iter(range(PATIENCE))
        while True:
            request = {"multi_last": subjects, "seq": first, "batch": len(subjects)}
            ((found, more, known),) = await self._read([request])
            if known is None and await self._has_nothing(names, first):
                return newest
            if known is None or known < upto:
                await _wait_for_replica(patience)
                continue
            newest |= {one.subject: one.sequence for one in found}
            if not more:
                return newest
            first = found[-1].sequence + 1

    async def _has_nothing(self, names: Sequence[str], first: int) -> bool:
        """Ask the leader, where a replica without any message of the subjects can't say how far it is."""
        if self._layout.replicas == 1:
            return True
        subject = f"$JS.API.STREAM.MSG.GET.{self._layout.name}"
        requests = [{"seq": first, "next_by_subj": self._layout.stored + name} for name in names]
        answers = await asyncio.gather(*(self._link.ask(subject, request) for request in requests))
        return not any("message" in answer for answer in answers)

    async def _read(self, requests: Sequence[dict[str, Any]]) -> list[Batch]:
        """Put all requests at once; return what each found."""
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
        answers: dict[str, list[Msg]] = {}
        for message in messages:
            answers.setdefault(message.subject, []).append(message)
        return [self._batch(answers[f"{reply.subject}.{number}"]) for number in range(len(requests))]

    def _batch(self, answer: Sequence[Msg]) -> Batch:
        *found, end = answer
        headers = end.headers or {}
        if headers[STATUS] not in ("204", "404"):
            raise Unavailable(f"NATS: {headers[STATUS]} {headers.get('Description', '')}")
        upto = headers.get("Nats-UpTo-Sequence")
        more = int(headers.get("Nats-Num-Pending", "0"))
        return Batch([self._stored(message) for message in found], more, None if upto is None else int(upto))

    def _stored(self, message: Msg) -> Stored:
        headers = message.headers or {}
        parcel = Parcel(headers[SUBJECT].removeprefix(self._layout.stored), headers, message.data)
        return Stored(int(headers["Nats-Sequence"]), headers["Nats-Time-Stamp"], parcel)


def _add(kept: Kept, batch: list[Stored], *, is_full: bool) -> Kept:
    """Add a batch of a subject. Where there are as many messages as are kept, older ones may have been discarded."""
    lost = batch[0].sequence - 1 if batch and is_full else kept.lost
    return Kept(kept.messages + batch, lost)


async def _wait_for_replica(patience: Iterator[int]) -> None:
    if next(patience, None) is None:
        raise Unavailable("NATS: a replica is behind")
    await asyncio.sleep(PAUSE)


def _is_status(message: Msg) -> bool:
    # A message of the stream may have any header, but the server adds its subject.
    return message.headers is not None and STATUS in message.headers and SUBJECT not in message.headers

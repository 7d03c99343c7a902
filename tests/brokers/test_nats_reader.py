"""Reading a stream, from answers written by hand: replicas that are behind, and discarded messages."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from nats.aio.msg import Msg

from tornado_sse.brokers.nats import reader as module
from tornado_sse.brokers.nats.layout import Layout
from tornado_sse.brokers.nats.link import Link, Reply
from tornado_sse.brokers.nats.reader import Kept, Reader
from tornado_sse.errors import Unavailable

Batch = tuple[list[int], int]
"""Sequences found, and how many more there are."""

Newest = tuple[list[int], int, int | None]
"""The same for newest messages, and up to where who answers has everything."""

UPTO = 20
"""Up to where a subject is wanted."""


class FakeLink(Link):
    """Answers each read with the next of `batches`, and each question with the next of `answers`.

    Those for the newest messages are answered with the next of `newest`, or, if None, with what `batches` have.
    """

    def __init__(
        self,
        batches: list[Batch] | None = None,
        answers: list[dict[str, Any]] | None = None,
        newest: list[Newest] | None = None,
    ) -> None:
        self.batches = batches or []
        self.asked = answers or []
        self.newest = newest or [([number for found, _ in self.batches for number in found][-1:], 0, UPTO)]
        self.requests: list[Any] = []
        self.status = ""

    async def ask(self, subject: str, body: object) -> dict[str, Any]:  # noqa: ARG002 - Link's signature
        return self.asked.pop(0)

    @contextmanager
    def expect(self, done: Callable[[list[Msg]], bool] = bool) -> Iterator[Reply]:
        self._reply = Reply("inbox", done, asyncio.get_running_loop().create_future())
        yield self._reply

    async def send_json(self, subject: str, body: object, reply: str) -> None:  # noqa: ARG002 - same
        self.requests.append(body)
        end: dict[str, str] = {}
        if "multi_last" in cast("dict[str, Any]", body):
            found, more, upto = self.newest.pop(0)
            end |= {"Nats-UpTo-Sequence": str(upto)} if upto else {}
        else:
            found, more = self.batches.pop(0)
        end |= {"Status": self.status or ("204" if found else "404"), "Nats-Num-Pending": str(more)}
        for headers in [
            *({"Nats-Subject": "p.m.x", "Nats-Sequence": str(n), "Nats-Time-Stamp": ""} for n in found),
            end,
        ]:
            self._reply.messages.append(Msg(None, reply, "", b"", headers))  # type: ignore[arg-type]
            if self._reply.done(self._reply.messages):
                self._reply.future.set_result(self._reply.messages)

    async def within(self, future: "asyncio.Future[Any]") -> Any:
        return await future


def layout(replicas: int = 1) -> Layout:
    return Layout("p", size=3, ttl=1, max_bytes=1, window=1, replicas=replicas)


def play(link: FakeLink, read: Callable[[Reader], Awaitable[Any]], replicas: int = 1) -> Any:
    async def run() -> Any:
        return await read(Reader(link, layout(replicas), anchor="a"))

    return asyncio.run(run())


async def everything(reader: Reader) -> list[list[int]]:
    return [[one.sequence for one in batch] async for batch in reader.everything(10, 15)]


async def one_subject(reader: Reader) -> tuple[list[int], int]:
    kept = (await reader.subjects({"x": 10}, UPTO)).get("x", Kept([], 0))
    return [one.sequence for one in kept.messages], kept.lost


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0)


@pytest.mark.parametrize(
    ("batches", "found"),
    [
        ([([11, 12], 3), ([14, 15, 16], 0)], [[11, 12], [14, 15]]),
        ([([11], 0), ([], 0)], [[11]]),
        ([([16], 0)], []),
    ],
)
def test_everything_up_to_a_sequence(batches: list[Batch], found: list[list[int]]) -> None:
    assert play(FakeLink(batches), everything) == found


def test_a_replica_that_is_behind_is_asked_again() -> None:
    assert play(FakeLink([([11], 0), ([], 0), ([15], 0)]), everything, replicas=3) == [[11], [15]]


def test_nor_for_ever() -> None:
    link = FakeLink([([], 0)] * (module.PATIENCE + 1))
    assert play(link, everything, replicas=3) == []
    assert not link.batches


@pytest.mark.parametrize(
    ("batches", "found", "lost"),
    [
        ([([], 0)], [], 0),
        ([([11, 14], 0)], [11, 14], 0),
        ([([12, 13, 14], 0)], [12, 13, 14], 11),
        ([([11], 1), ([15], 0)], [11, 15], 0),
        ([([11], 2), ([14, 15], 1), ([16], 0)], [11, 14, 15, 16], 13),
        ([([11, 12], 0), ([], 0)], [11, 12], 0),
    ],
)
def test_of_a_subject_that_may_have_been_discarded_it_tells(batches: list[Batch], found: list[int], lost: int) -> None:
    assert play(FakeLink(batches), one_subject) == (found, lost)


def test_what_has_nothing_new_is_not_read() -> None:
    link = FakeLink(newest=[([10], 0, UPTO)])
    assert play(link, one_subject, replicas=3) == ([], 0)
    assert [list(request) for request in link.requests] == [["multi_last", "seq", "batch"]]


def test_who_answers_from_behind_is_asked_again() -> None:
    link = FakeLink([([11, 12], 0)], newest=[([], 0, 5), ([12], 0, UPTO)])
    assert play(link, one_subject, replicas=3) == ([11, 12], 0)
    link = FakeLink([([], 0), ([11], 0), ([12], 0)], newest=[([12], 0, UPTO)])
    assert play(link, one_subject, replicas=3) == ([11, 12], 0)


@pytest.mark.parametrize(
    "link",
    [
        FakeLink(newest=[([], 0, 5)] * (module.PATIENCE + 1)),
        FakeLink([([], 0)] * (module.PATIENCE + 1), newest=[([12], 0, UPTO)]),
    ],
)
def test_nor_that_for_ever(link: FakeLink) -> None:
    with pytest.raises(Unavailable, match="behind"):
        play(link, one_subject, replicas=3)


def test_newest_messages_may_come_in_parts() -> None:
    async def two(reader: Reader) -> list[int]:
        return [one.sequence for one in (await reader.subjects({"x": 10}, UPTO))["x"].messages]

    link = FakeLink([([11, 14], 0)], newest=[([12], 1, UPTO), ([14], 0, UPTO)])
    assert play(link, two) == [11, 14]
    assert [request.get("seq") for request in link.requests] == [11, 13, 11]


def test_very_many_subjects_are_several_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SUBJECTS", 2)
    link = FakeLink(newest=[([], 0, UPTO)] * 3)
    assert play(link, lambda reader: reader.subjects({str(number): 10 for number in range(5)}, UPTO)) == {}
    assert [request["multi_last"] for request in link.requests] == [
        ["p.m.0", "p.m.1", "p.m.a"],
        ["p.m.2", "p.m.3", "p.m.a"],
        ["p.m.4", "p.m.a"],
    ]


def test_where_nothing_is_found_at_all_the_leader_says_whether_there_is() -> None:
    link = FakeLink([([11], 0)], [{"message": {}}, {"error": {}}], newest=[([], 0, None), ([11], 0, UPTO)])
    assert play(link, one_subject, replicas=3) == ([11], 0)
    assert play(FakeLink(answers=[{"error": {}}], newest=[([], 0, None)]), one_subject, replicas=3) == ([], 0)
    assert play(FakeLink(newest=[([], 0, None)]), one_subject) == ([], 0)


def test_another_status_is_no_answer() -> None:
    link = FakeLink([([], 0)])
    link.status = "408"
    with pytest.raises(Unavailable, match="408"):
        play(link, one_subject)


def test_how_a_stream_stands() -> None:
    state = {"config": {}, "state": {"first_seq": 2, "last_seq": 5}}
    link = FakeLink(answers=[state, state | {"cluster": {"leader": "n1"}}, {"error": {"err_code": 10059}}])
    assert play(link, Reader.info) == ({}, 2, 5, "")
    assert play(link, Reader.info).leader == "n1"
    assert play(link, Reader.info) is None


def test_an_error_is_no_answer() -> None:
    link = FakeLink(answers=[{"error": {"err_code": 10008, "description": "not now"}}])
    with pytest.raises(Unavailable, match="not now"):
        play(link, Reader.info)

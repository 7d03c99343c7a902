"""The workers together; members stand in for their processes."""

import asyncio
from collections.abc import Iterator, MutableMapping
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from client_support import until
from tornado_sse.config import Settings
from tornado_sse.console.operations import End, Ended, Operation, Outcome, Send
from tornado_sse.lifecycle import Exit
from tornado_sse.workers import crew as crew_module
from tornado_sse.workers.crew import Crew
from tornado_sse.workers.words import Figures

Log = list[MutableMapping[str, Any]]

SETTINGS = Settings(dev=True, workers=3, drain_time=0)


class FakeMember:
    """A worker that listens, unless `refuses` has its number and an exit code; it ends when the test says so."""

    refuses: ClassVar[dict[int, int]] = {}
    begun: ClassVar[list["FakeMember"]] = []
    unstartable = 0

    def __init__(self, worker: int, settings: Settings) -> None:
        self.worker = worker
        self.settings = settings
        self.pid = 1000 + len(self.begun)
        self.told: list[str] = []
        self.problem: str | None = None
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stubborn = False

    @classmethod
    async def begin(cls, worker: int, settings: Settings) -> "FakeMember":
        if cls.unstartable:
            cls.unstartable -= 1
            raise BlockingIOError("no process left")
        cls.begun.append(cls(worker, settings))
        return cls.begun[-1]

    async def listening(self) -> bool:
        if self.worker in self.refuses:
            self.end(self.refuses[self.worker])
        return self.worker not in self.refuses

    async def ended(self) -> int:
        return await asyncio.shield(self.code)

    async def figures(self, _patience: float) -> Figures | None:
        return Figures(0, ready=True, metrics=f"of {self.worker}")

    async def perform(self, operation: Operation, _patience: float) -> Outcome | None:
        self.told.append(type(operation).__name__)
        return None if self.worker == 1 else Ended(self.worker)

    async def take(self, settings: Settings, _patience: float) -> str | None:
        self.told.append("take")
        self.settings = settings
        return self.problem

    def stop(self, *, at_once: bool = False) -> None:
        self.told.append("end" if at_once else "drain")
        if not self.stubborn:
            self.end(Exit.CUT_SHORT if at_once else Exit.DRAINED)

    def kill(self) -> None:
        self.end(-9)

    def end(self, code: int) -> None:
        if not self.code.done():
            self.code.set_result(code)


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> list[FakeMember]:
    monkeypatch.setattr(FakeMember, "refuses", {})
    monkeypatch.setattr(FakeMember, "begun", [])
    monkeypatch.setattr(crew_module, "Member", FakeMember)
    return FakeMember.begun


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    with capture_logs() as lines:
        yield lines


async def started() -> Crew:
    crew = Crew(SETTINGS)
    assert await crew.start() is None
    return crew


@pytest.mark.gen_test
async def test_all_start_answer_and_drain(begun: list[FakeMember]) -> None:
    crew = await started()
    assert [member.worker for member in begun] == [0, 1, 2]
    answers = await crew.figures()
    assert {worker: answer and answer.metrics for worker, answer in answers.items()} == {
        0: "of 0",
        1: "of 1",
        2: "of 2",
    }
    crew.stop()
    assert await crew.ended() == Exit.DRAINED
    assert [member.told for member in begun] == [["drain"]] * 3


@pytest.mark.gen_test
async def test_the_console_asks_all_or_one(begun: list[FakeMember]) -> None:
    crew = await started()
    assert await crew.look() == {0: Ended(0), 1: None, 2: Ended(2)}
    assert await crew.perform(End("anna")) == [Ended(0), Ended(2)]
    assert await crew.perform_once(Send("all", "hello")) == Ended(0)
    assert [member.told for member in begun] == [["Look", "End", "Send"], ["Look", "End"], ["Look", "End"]]
    crew.stop()
    await crew.ended()


@pytest.mark.gen_test
async def test_nobody_is_there_to_ask() -> None:
    assert await Crew(SETTINGS).perform_once(Send("all", "hello")) is None


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (1, 1), (-9, 1)])
@pytest.mark.gen_test
async def test_the_first_that_fails_at_the_start_is_the_only_one(
    begun: list[FakeMember], code: int, expected: int
) -> None:
    FakeMember.refuses = {0: code}
    assert await Crew(SETTINGS).start() == expected
    assert len(begun) == 1


@pytest.mark.gen_test
async def test_one_of_the_others_that_fails_at_the_start_ends_all(begun: list[FakeMember]) -> None:
    FakeMember.refuses = {2: 1}
    assert await Crew(SETTINGS).start() == 1
    assert [member.told for member in begun] == [["end"], ["end"], []]


@pytest.mark.gen_test
async def test_a_process_that_can_not_be_started_at_first_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setattr(FakeMember, "unstartable", 1)
    assert await Crew(SETTINGS).start() == Exit.FAILED
    assert log[0]["problem"] == "no process left"


@pytest.mark.gen_test
async def test_one_that_ends_is_replaced_even_if_that_takes_several_attempts(
    monkeypatch: pytest.MonkeyPatch, begun: list[FakeMember]
) -> None:
    crew = await started()
    monkeypatch.setattr(FakeMember, "unstartable", 1)
    begun[1].end(-9)
    await until(lambda: FakeMember.unstartable == 0)
    answers = await crew.figures()
    assert answers[1] is None
    assert answers[0]
    await until(lambda: len(begun) == 4)
    assert begun[3].worker == 1
    assert crew.restarts == {0: 0, 1: 2, 2: 0}
    crew.stop()
    assert await crew.ended() == Exit.DRAINED


@pytest.mark.gen_test
async def test_none_is_replaced_after_a_stop(begun: list[FakeMember], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tornado_sse.workers.backoff.FIRST", 60)
    crew = await started()
    begun[0].end(1)
    await until(lambda: len(crew._members) == 2)
    crew.stop()
    assert await crew.ended() == Exit.DRAINED
    assert len(begun) == 3


@pytest.mark.gen_test
async def test_one_that_is_just_being_started_is_told_to_stop_as_well(begun: list[FakeMember]) -> None:
    crew = Crew(SETTINGS)
    crew.stop()
    assert await crew.start() is None
    assert await crew.ended() == Exit.DRAINED
    assert [member.told for member in begun] == [["drain"]] * 3


@pytest.mark.gen_test
async def test_one_that_does_not_end_is_killed(begun: list[FakeMember], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "GRACE", 0.01)
    crew = await started()
    begun[2].stubborn = True
    crew.stop()
    assert await crew.ended() == Exit.FAILED


@pytest.mark.gen_test
async def test_a_second_stop_cuts_it_short(begun: list[FakeMember]) -> None:
    crew = await started()
    for member in begun:
        member.stubborn = True
    crew.stop()
    for member in begun:
        member.stubborn = False
    crew.stop(at_once=True)
    assert await crew.ended() == Exit.CUT_SHORT


@pytest.mark.gen_test
async def test_settings_that_the_first_refuses_reach_no_other(begun: list[FakeMember]) -> None:
    crew = await started()
    fresh = SETTINGS.model_copy(update={"max_streams": 1})
    begun[0].problem = "no key"
    assert await crew.reload(fresh) == "no key"
    assert [member.told for member in begun] == [["take"], [], []]
    assert crew.settings == SETTINGS
    begun[0].problem = None
    assert await crew.reload(fresh) is None
    assert [member.settings for member in begun] == [fresh] * 3
    begun[1].end(1)
    await until(lambda: len(begun) == 4)
    assert begun[3].settings == fresh
    crew.stop()
    await crew.ended()

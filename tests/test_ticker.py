"""Tickers on a real loop whose clock is ours."""

import asyncio
from collections.abc import Iterator

import pytest

from client_support import until
from tornado_sse.ticker import Ticker


class Loop(asyncio.SelectorEventLoop):
    """A loop whose time passes when it is told to."""

    now = 100.0

    def time(self) -> float:
        return self.now

    async def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and all that is due run."""
        self.now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_it_ticks_at_each_interval_until_it_is_stopped(loop: Loop) -> None:
    ticks: list[float] = []
    ticker = Ticker(lambda: ticks.append(loop.now), 2.0)
    running = [ticker.is_running]

    async def run() -> None:
        ticker.start()
        running.append(ticker.is_running)
        for _ in range(10):
            await loop.turn(0.5)
        ticker.stop()
        running.append(ticker.is_running)
        await loop.turn(10.0)

    loop.run_until_complete(run())
    assert running == [False, True, False]
    assert ticks == [102.0, 104.0]


def test_what_was_missed_is_left_out_and_the_rhythm_stays(loop: Loop) -> None:
    ticks: list[float] = []
    ticker = Ticker(lambda: ticks.append(loop.now), 2.0)

    async def run() -> None:
        ticker.start()
        for seconds in (2.5, 1.0, 0.5, 100.0, 1.0, 0.9, 0.1):
            await loop.turn(seconds)
        ticker.stop()

    loop.run_until_complete(run())
    assert ticks == [102.5, 104.0, 204.0, 206.0]


def test_work_that_takes_long_is_not_begun_twice(loop: Loop) -> None:
    begun: list[float] = []
    done = asyncio.Event()

    async def work() -> None:
        begun.append(loop.now)
        await done.wait()

    async def run() -> None:
        ticker = Ticker(work, 1.0)
        ticker.start()
        for _ in range(3):
            await loop.turn(1.0)
        done.set()
        await loop.turn()
        await loop.turn(1.0)
        ticker.stop()
        await loop.turn()

    loop.run_until_complete(run())
    assert begun == [101.0, 104.0]


def test_work_that_fails_is_told_and_done_again(loop: Loop) -> None:
    problems: list[object] = []
    loop.set_exception_handler(lambda _, context: problems.append(context["exception"]))

    def work() -> None:
        raise OSError("it broke")

    ticker = Ticker(work, 1.0)

    async def run() -> None:
        ticker.start()
        await loop.turn(1.0)
        await loop.turn(1.0)
        ticker.stop()

    loop.run_until_complete(run())
    assert [type(problem) for problem in problems] == [OSError, OSError]


@pytest.mark.gen_test
async def test_a_step_of_unix_time_is_none_of_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """PeriodicCallback would stand still for an hour."""
    ticks: list[None] = []
    ticker = Ticker(lambda: ticks.append(None), 0.001)
    ticker.start()
    await until(lambda: ticks)
    monkeypatch.setattr("time.time", lambda: 0.0)
    ticks.clear()
    await until(lambda: len(ticks) > 1)
    ticker.stop()

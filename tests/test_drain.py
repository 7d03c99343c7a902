import asyncio
from collections.abc import Iterator

import pytest

from client_support import parse_block
from server_support import Clock
from stream_support import SMALL, Bench, bench_with, received
from tornado_sse.drain import closed_by, drain
from tornado_sse.notices import CloseReason
from tornado_sse.outbox import Bounds, SlowPolicy
from tornado_sse.steps import SLICE


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    with bench_with(clock) as bench:
        yield bench


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, clock: Clock, bench: Bench) -> list[int]:
    """How many streams were open at each step; a step takes its time of the injected clock only."""
    open_streams: list[int] = []

    async def step(seconds: float) -> None:
        open_streams.append(len(bench.registry.hub.streams))
        clock.advance(seconds)
        bench.registry.tick()

    monkeypatch.setattr("tornado_sse.drain.asyncio.sleep", step)
    return open_streams


@pytest.mark.parametrize(("elapsed", "closed"), [(0, 1), (0.17, 1), (0.9, 6), (1.79, 10), (1.8, 10), (100, 10)])
def test_closes_evenly_and_leaves_time_for_farewells(elapsed: float, closed: int) -> None:
    assert closed_by(10, elapsed, 2) == closed


def test_without_time_all_are_closed_at_once() -> None:
    assert closed_by(10, 0, 0) == 10


def test_lets_streams_go_one_after_the_other(bench: Bench, steps: list[int], clock: Clock) -> None:
    peers = [bench.live()[1] for _ in range(36)]
    start = clock()
    asyncio.run(drain(bench.registry, 2, clock))
    closings = [-change for change in (later - sooner for sooner, later in zip([36, *steps], steps, strict=False))]
    assert steps[-1] == 0
    assert max(closings) <= 1, "36 streams in 1.8 s are one every 50 ms"
    assert 1.8 <= clock() - start <= 1.9
    for peer in peers:
        farewell = parse_block(received(peer).decode().strip("\n"))
        assert farewell.json() == {"reason": "draining", "reconnect": True}
        assert 1000 <= int(str(farewell.retry)) <= 3000
    assert bench.stats.streams_closed == {"draining": 36}


def test_with_no_time_at_all_others_have_their_turn_still(bench: Bench, steps: list[int]) -> None:
    for _ in range(12):
        bench.live()
    bench.registry.on_ended = lambda _: bench.clock.advance(SLICE / 3.5)
    asyncio.run(drain(bench.registry, 0, bench.clock))
    assert sorted(set(steps), reverse=True) == [8, 4, 0]


def test_the_oldest_goes_first(bench: Bench, steps: list[int]) -> None:
    order: list[str] = []
    bench.registry.on_ended = lambda stream: order.append(stream.session)
    for session in "abc":
        bench.live(session=session)
    asyncio.run(drain(bench.registry, 1, bench.clock))
    assert order == ["a", "b", "c"]
    assert steps


def test_waits_for_farewells_no_longer_than_it_may(bench: Bench, steps: list[int], clock: Clock) -> None:
    bench.backlogged()
    start = clock()
    asyncio.run(drain(bench.registry, 1, clock))
    assert 1.0 <= clock() - start <= 1.1
    assert len(bench.registry.farewells) == 1
    assert steps[-1] == 0


def test_waits_for_no_farewell_that_was_given_up(bench: Bench, steps: list[int], clock: Clock) -> None:
    bench.registry.bounds = Bounds(60 * SMALL, 60.0, SlowPolicy.DISCONNECT)
    bench.backlogged()
    start = clock()
    asyncio.run(drain(bench.registry, 20, clock))
    assert 2 <= clock() - start <= 2.1, "the only one is closed at once, and has 2 s for the farewell"
    assert steps[-1] == 0


def test_with_no_streams_there_is_nothing_to_wait_for(bench: Bench, steps: list[int]) -> None:
    asyncio.run(drain(bench.registry, 20, bench.clock))
    assert steps == []


def test_streams_that_leave_by_themselves_are_not_waited_for(bench: Bench, steps: list[int], clock: Clock) -> None:
    first, _ = bench.live()
    second, _ = bench.live()
    third, _ = bench.live()
    bench.registry.on_ended = lambda ended: second.close(CloseReason.CLIENT_GONE) if ended is first else None
    start = clock()
    asyncio.run(drain(bench.registry, 3, clock))
    assert bench.stats.streams_closed == {"draining": 2, "client_gone": 1}
    assert 1.8 <= clock() - start <= 1.95, "the third of three, after two thirds of nine tenths of 3 s"
    assert steps[-1] == 0
    assert third.is_ended


def test_is_over_as_soon_as_nobody_is_left(bench: Bench, steps: list[int], clock: Clock) -> None:
    first, _ = bench.live()
    second, _ = bench.live()
    bench.registry.on_ended = lambda ended: second.close(CloseReason.CLIENT_GONE) if ended is first else None
    start = clock()
    asyncio.run(drain(bench.registry, 20, clock))
    assert clock() - start <= 0.1
    assert steps[-1] == 0

import asyncio

import pytest

from server_support import Clock, costly_steps
from tornado_sse.slices import in_slices
from tornado_sse.steps import PAUSE


@pytest.mark.gen_test
async def test_between_two_slices_the_loop_has_its_turns(clock: Clock) -> None:
    made: list[int] = []
    working = asyncio.ensure_future(in_slices(costly_steps(clock, 7, made), clock))
    seen = []
    while not working.done():
        await asyncio.sleep(0)
        seen.append(len(made))
    assert [seen.count(number) for number in (3, 6)] == [1 + PAUSE, 1 + PAUSE]
    assert made == list(range(7))

from hypothesis import given
from hypothesis import strategies as st

from server_support import Clock, costly_steps
from tornado_sse.steps import SLICE, STEP, in_steps, make_until


@given(st.integers(0, 3 * STEP))
def test_nothing_is_lost_and_no_step_is_larger_than_it_may_be(count: int) -> None:
    steps = list(in_steps(range(count)))
    assert [number for step in steps for number in step] == list(range(count))
    assert [len(step) for step in steps[:-1]] == [STEP] * (len(steps) - 1)
    assert all(0 < len(step) <= STEP for step in steps)


def test_steps_are_made_until_the_deadline(clock: Clock) -> None:
    made: list[int] = []
    some = costly_steps(clock, 5, made)
    assert make_until(some, clock, clock() + SLICE)
    assert made == [0, 1, 2]
    assert not make_until(some, clock, clock() + SLICE)
    assert made == [0, 1, 2, 3, 4]

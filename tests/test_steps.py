from hypothesis import given
from hypothesis import strategies as st

from tornado_sse.steps import STEP, in_steps


@given(st.integers(0, 3 * STEP))
def test_nothing_is_lost_and_no_step_is_larger_than_it_may_be(count: int) -> None:
    steps = list(in_steps(range(count)))
    assert [number for step in steps for number in step] == list(range(count))
    assert [len(step) for step in steps[:-1]] == [STEP] * (len(steps) - 1)
    assert all(0 < len(step) <= STEP for step in steps)

from tornado_sse.workers.backoff import FIRST, MOST, STEADY, Backoff


def test_what_ends_at_once_is_started_again_ever_later_up_to_a_bound() -> None:
    backoff = Backoff()
    pauses = [backoff.pause(0) for _ in range(12)]
    assert pauses[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MOST


def test_what_ran_well_is_started_again_soon() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.pause(0)
    assert backoff.pause(STEADY) == FIRST
    assert backoff.pause(0) == 2 * FIRST

"""Sessions without a stream: lately left, or disconnected on purpose."""

import pytest

from support import FakeClock
from tornado_sse.sessions import LINGER, PER_USER, Sessions


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sessions(clock: FakeClock) -> Sessions:
    return Sessions(30.0, clock)


def test_a_session_is_known_for_a_while_after_its_last_stream(sessions: Sessions, clock: FakeClock) -> None:
    assert not sessions.known("u", "s")
    sessions.left("u", "s")
    clock.advance(LINGER - 1)
    assert sessions.known("u", "s")
    clock.advance(1)
    assert not sessions.known("u", "s")


def test_a_disconnected_session_is_kept_away_for_a_while(sessions: Sessions, clock: FakeClock) -> None:
    sessions.disconnect("u", "s")
    clock.advance(29)
    assert sessions.is_disconnected("u", "s")
    clock.advance(1)
    assert not sessions.is_disconnected("u", "s")


def test_disconnecting_forgets_that_it_may_come_back(sessions: Sessions) -> None:
    sessions.left("u", "s")
    sessions.disconnect("u", "s")
    assert not sessions.known("u", "s")


def test_two_users_with_one_id_never_meet(sessions: Sessions) -> None:
    sessions.left("u", "s")
    sessions.disconnect("v", "s")
    assert not sessions.known("v", "s")
    assert not sessions.is_disconnected("u", "s")
    assert sessions.known("u", "s")


def test_a_user_who_disconnects_many_pushes_out_none_but_their_own(sessions: Sessions) -> None:
    sessions.disconnect("v", "s")
    for number in range(PER_USER + 1):
        sessions.disconnect("u", str(number))
        sessions.disconnect("u", "again and again")
    assert sessions.is_disconnected("v", "s")
    assert sessions.is_disconnected("u", "again and again")
    assert sessions.is_disconnected("u", "2")
    assert not sessions.is_disconnected("u", "1")
    assert len(sessions._disconnected) == PER_USER + 1


def test_what_is_over_is_forgotten(sessions: Sessions, clock: FakeClock) -> None:
    sessions.left("u", "s")
    sessions.disconnect("u", "t")
    clock.advance(LINGER)
    sessions.purge()
    assert len(sessions._left) == 0
    assert len(sessions._disconnected) == 0
    assert not sessions._disconnected._of

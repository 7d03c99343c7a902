"""Caps: who still gets a stream."""

import pytest

from tornado_sse.admission import Caps, Rejection, UserCapPolicy

TABLE = [(0, 0, False), (0, 10**6, False), (1, 0, False), (1, 1, True), (3, 2, False), (3, 3, True), (3, 4, True)]


@pytest.mark.parametrize(("cap", "streams", "full"), TABLE)
def test_a_cap_is_full_when_one_more_would_pass_it(
    cap: int,
    streams: int,
    full: bool,
) -> None:
    assert Caps(streams=cap).full(streams) is full
    assert Caps(per_address=cap).address_full(streams) is full
    assert Caps(per_user=cap).user_full(streams) is full


def test_caps_are_independent() -> None:
    caps = Caps(streams=1, per_user=2, per_address=3)
    assert (caps.full(1), caps.user_full(1), caps.address_full(2)) == (True, False, False)


def test_without_caps_nobody_is_rejected() -> None:
    assert Caps() == Caps(0, 0, 0, UserCapPolicy.REJECT)


def test_reasons_are_metric_labels() -> None:
    assert all(reason.value.isidentifier() for reason in Rejection)

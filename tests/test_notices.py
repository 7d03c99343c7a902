"""The server's own events, as a client reads them."""

import json
from typing import Any

import pytest

from support import Event, Reader
from tornado_sse import notices
from tornado_sse.event import RESERVED_PREFIX, Frame
from tornado_sse.notices import CloseReason, GapReason


def read(frame: Frame) -> tuple[Event, Any, Reader]:
    reader = Reader().feed(frame.body)
    (event,) = reader.events
    assert event.name.startswith(RESERVED_PREFIX)
    return event, json.loads(event.data), reader


@pytest.mark.parametrize(
    ("reason", "text", "reconnect", "ours"),
    [
        (CloseReason.CLIENT_GONE, "client_gone", True, False),
        (CloseReason.DISCONNECTED, "disconnected", False, True),
        (CloseReason.EXPIRED, "expired", False, True),
        (CloseReason.SLOW, "slow", True, True),
        (CloseReason.DRAINING, "draining", True, True),
        (CloseReason.REPLACED, "replaced", False, True),
        (CloseReason.WRITE_ERROR, "write_error", True, False),
        (CloseReason.LIMIT, "limit", True, True),
        (CloseReason.REVOKED, "revoked", False, True),
    ],
)
def test_a_farewell_says_why_and_whether_to_come_back(
    reason: CloseReason,
    text: str,
    reconnect: bool,
    ours: bool,
) -> None:
    event, data, reader = read(notices.closing(reason))
    assert event.name == "stream-closing"
    assert data == {"reason": text, "reconnect": reconnect}
    assert reader.retry is None
    assert reason.ours is ours


def test_every_reason_is_in_the_table_above() -> None:
    assert len(CloseReason) == 9


def test_a_farewell_may_spread_the_reconnects() -> None:
    assert read(notices.closing(CloseReason.DRAINING, 1234))[2].retry == 1234


@pytest.mark.parametrize("position", [None, "e-9"])
def test_a_farewell_may_give_a_client_its_position_back(position: str | None) -> None:
    assert read(notices.closing(CloseReason.LIMIT, position=position))[2].last_id == (position or "")


@pytest.mark.parametrize("after", [None, "e-3"])
@pytest.mark.parametrize("reason", list(GapReason))
@pytest.mark.parametrize(("position", "retry"), [(None, None), ("e-9", 1500)])
def test_a_gap_says_from_where_to_where(
    after: str | None, reason: GapReason, position: str | None, retry: int | None
) -> None:
    event, data, reader = read(notices.gap(after, "e-7", reason, position=position, retry=retry))
    assert event.name == "stream-gap"
    assert data == {"from": after, "to": "e-7", "reason": reason.value}
    assert (reader.last_id, reader.retry) == (position or "", retry)


def test_an_opening_tells_the_channels_and_the_present() -> None:
    event, data, reader = read(notices.opened(["a"], "e-9", position="e-3"))
    assert (event.name, data) == ("stream-opened", {"channels": ["a"], "now": "e-9"})
    assert reader.last_id == "e-3"


@pytest.mark.parametrize(("seconds", "told"), [(30.0, 30), (29.6, 30), (0.2, 0)])
def test_an_end_is_told_in_whole_seconds(seconds: float, told: int) -> None:
    event, data, _ = read(notices.expiring(seconds))
    assert event.name == "stream-expiring"
    assert data == {"expiresIn": told}

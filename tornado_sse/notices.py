"""The events that the server itself sends: their names, their data, and the reasons that go into them.

All names begin with `stream-`, which publishers may not use. Data is JSON.
"""

import json
from collections.abc import Sequence
from enum import StrEnum

from tornado_sse.event import Frame, encode


class CloseReason(StrEnum):
    """Why a stream ended: one catalogue for the farewell, the log and the metric label."""

    CLIENT_GONE = "client_gone"
    DISCONNECTED = "disconnected"
    EXPIRED = "expired"
    SLOW = "slow"
    DRAINING = "draining"
    REPLACED = "replaced"
    WRITE_ERROR = "write_error"
    LIMIT = "limit"
    REVOKED = "revoked"

    @property
    def reconnect(self) -> bool:
        """Whether the client is asked to come back."""
        return self not in (CloseReason.DISCONNECTED, CloseReason.EXPIRED, CloseReason.REPLACED, CloseReason.REVOKED)

    @property
    def ours(self) -> bool:
        """Whether we are the ones to close, so that the client is owed a farewell."""
        return self not in (CloseReason.CLIENT_GONE, CloseReason.WRITE_ERROR)


class GapReason(StrEnum):
    """Why messages are missing."""

    EVICTED = "evicted"
    """History no longer holds them: its bounds in messages, age or bytes."""
    EPOCH = "epoch"
    """History was lost since the client's position."""
    UNKNOWN = "unknown"
    """The position is none of ours, or lies in the future."""
    SLOW = "slow"
    """The stream's backlog was over its bound, and the policy is to drop the oldest."""


def closing(reason: CloseReason, retry: int | None = None, *, position: str | None = None) -> Frame:
    """Farewell: `{"reason": ..., "reconnect": bool}`. `retry` in milliseconds spreads the reconnects.

    `position` is for a stream that said nothing before: a client that came with it must leave with it.
    """
    data = {"reason": reason.value, "reconnect": reason.reconnect}
    return Frame(encode(json.dumps(data), event="stream-closing", position=position, retry=retry))


def gap(
    after: str | None, to: str, reason: GapReason, *, position: str | None = None, retry: int | None = None
) -> Frame:
    """Tell of a hole: messages after position `from` (null: not known) up to and including `to` may be missing.

    `position` becomes the client's last event id in the same step, so that a hole told is never told twice, nor lost.
    `retry` in milliseconds is for the first block of a stream.
    """
    data = {"from": after, "to": to, "reason": reason.value}
    return Frame(encode(json.dumps(data), event="stream-gap", position=position, retry=retry))


def opened(channels: Sequence[str], now: str, *, position: str) -> Frame:
    """Tell a labelled stream which channels it has, and the present position `now`: `{"channels": [...], "now": ...}`.

    `position` is for a stream that said nothing before: what was there before `now` is yet to come.
    """
    return Frame(encode(json.dumps({"channels": channels, "now": now}), event="stream-opened", position=position))


def expiring(seconds: float) -> Frame:
    """Warn that the token of the stream ends in so many seconds: `{"expiresIn": seconds}`."""
    return Frame(encode(json.dumps({"expiresIn": round(seconds)}), event="stream-expiring"))

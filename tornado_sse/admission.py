"""Admission: who gets a stream while there are caps. Decided before anything costly is done."""

from dataclasses import dataclass
from enum import StrEnum


class UserCapPolicy(StrEnum):
    """What happens to a connect above the user's cap."""

    REJECT = "reject"
    """Answer 429."""
    REPLACE = "replace"
    """End the user's oldest stream, with reason `replaced`, and let the new one in."""


class Rejection(StrEnum):
    """Why a connect was turned away; the metric label."""

    DRAINING = "draining"
    LIMIT = "limit"
    ADDRESS = "address"
    USER = "user"
    AUTH = "auth"
    DISCONNECTED = "disconnected"
    INVALID = "invalid"
    BROKER = "broker"


@dataclass(frozen=True, slots=True)
class Caps:
    """Most streams on this node, of one user, of one address; 0: no cap."""

    streams: int = 0
    per_user: int = 0
    per_address: int = 0
    user_policy: UserCapPolicy = UserCapPolicy.REJECT

    def full(self, streams: int) -> bool:
        """Whether the node has no room for one more."""
        return 0 < self.streams <= streams

    def address_full(self, streams: int) -> bool:
        """Whether the address has as many as it may."""
        return 0 < self.per_address <= streams

    def user_full(self, streams: int) -> bool:
        """Whether the user has as many as they may."""
        return 0 < self.per_user <= streams

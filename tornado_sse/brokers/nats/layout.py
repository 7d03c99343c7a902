"""How the JetStream stream is set up: what the settings want, and whether one that is there will do."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

EPOCH = "tornado-sse-epoch"
"""Entry of the stream's metadata. It goes with the stream, so that one made anew is a new epoch."""

MIN_BYTES = 1 << 20
"""Least bytes of a stream, so that what is published now can be carried."""

NANO = 1_000_000_000
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Layout:
    """What the settings say of the stream. `name` is also the prefix of all subjects; times are in seconds.

    JetStream has no stream without history: of `size` 0 it keeps one message for each subject, of `max_bytes` 0 a MiB.
    """

    name: str
    size: int
    ttl: float
    max_bytes: int
    window: float
    replicas: int = 1

    @property
    def kept(self) -> int:
        """Messages kept for each subject."""
        return max(self.size, 1)

    @property
    def stored(self) -> str:
        """What the subjects of kept messages begin with."""
        return f"{self.name}.m."

    @property
    def live(self) -> str:
        """What the subjects of republished messages begin with."""
        return f"{self.name}.live."

    @property
    def nodes(self) -> str:
        """Subject of what nodes tell each other, past the stream."""
        return f"{self.name}.nodes"

    def config(self, epoch: str) -> dict[str, Any]:
        """Return the stream's configuration, as the JetStream API has it. Durations are in nanoseconds."""
        return {
            "name": self.name,
            "subjects": [self.stored + ">"],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "num_replicas": self.replicas,
            "max_msgs": -1,
            "max_msgs_per_subject": self.kept,
            "max_bytes": max(self.max_bytes, MIN_BYTES),
            "max_age": round(max(self.ttl, self.window) * NANO),  # JetStream forgets no key later than its message
            "duplicate_window": round((self.window or self.ttl) * NANO),
            "allow_direct": True,
            "republish": {"src": self.stored + ">", "dest": self.live + ">"},
            "metadata": {EPOCH: epoch},
        }


def new_epoch() -> str:
    """Draw an epoch."""
    return "".join(secrets.choice(_BASE36) for _ in range(8))


def epoch_of(config: Mapping[str, Any]) -> str | None:
    """Read the epoch of a stream; None: it has none yet."""
    epoch: str | None = (config.get("metadata") or {}).get(EPOCH)
    return epoch


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Say in which settings that matter a stream differs from what is wanted."""
    return list(_differences(wanted, found))


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        have = found.get(name)
        if name == "republish":
            have = {key: (have or {}).get(key) for key in value}
        if name not in ("metadata", "name") and have != value:
            yield f"{name} is {_shown(name, have)}, the settings want {_shown(name, value)}"


def _shown(name: str, value: object) -> str:
    if name in ("max_age", "duplicate_window") and isinstance(value, int):
        return f"{value / NANO:g} s"
    return str(value)

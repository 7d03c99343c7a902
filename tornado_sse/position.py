"""Positions: `<epoch>-<sequence>`, the opaque `id` of an event.

The sequence grows with every message of the whole hub, so one position resumes a stream over all its topics. A new
epoch means that history was lost, and positions of the old one say nothing any more.
"""

import re

import msgspec

_POSITION = re.compile(r"([0-9a-z]{1,32})-(0|[1-9][0-9]{0,18})", re.ASCII)


class Position(msgspec.Struct, frozen=True, gc=False):
    """A point in the order of all messages: `epoch` is 1 to 32 of `0-9a-z`, `sequence` counts from 1; 0 is before."""

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}"


def parse(text: str) -> Position | None:
    """Read a position as sent by a client; None if it is none of ours."""
    match = _POSITION.fullmatch(text)
    return Position(match[1], int(match[2])) if match else None

"""Work on very many things in steps, so that whoever does it may look at the clock in between."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

STEP = 256
"""Things in a step: they take a fraction of a millisecond."""


def in_steps(things: Iterable[T]) -> Iterator[list[T]]:
    """Cut into lists of STEP; the last may be shorter, none is empty."""
    rest = iter(things)
    while step := list(islice(rest, STEP)):
        yield step

"""Work on very many things in steps, and steps in slices: so everything else on the loop has its turn in between."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

SLICE = 0.0015
"""Seconds of work before the loop gets its turn."""

PAUSE = 2
"""Turns of the loop between two slices: a request is read in one and answered in the next, and waits for one slice."""

STEP = 256
"""Things in a step: they take a fraction of a millisecond."""


def in_steps(things: Iterable[T], size: int = STEP) -> Iterator[list[T]]:
    """Cut into lists of that size; the last may be shorter, none is empty."""
    rest = iter(things)
    while step := list(islice(rest, size)):
        yield step


def make_until(steps: Iterator[object], clock: Callable[[], float], deadline: float) -> bool:
    """Make steps until the deadline; return whether there may be more."""
    return any(clock() >= deadline for _ in steps)

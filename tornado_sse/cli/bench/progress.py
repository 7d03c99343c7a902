"""Progress bars."""

from contextlib import ExitStack
from time import monotonic
from typing import Any, TextIO

import click

REDRAW = 0.1
"""Seconds between two looks, at least."""


class Progress:
    """One bar a phase, written to a terminal, or to where nobody looks."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._stack = ExitStack()
        self._bar: Any = None
        self._done = 0
        self._next = 0.0

    def phase(self, label: str, length: int) -> None:
        """Begin a new bar."""
        self.close()
        self._bar = self._stack.enter_context(
            click.progressbar(length=length, label=f"{label:<10}", file=self._file, show_pos=True)
        )
        self._done, self._next = 0, 0.0

    def reach(self, done: int) -> None:
        """Move the bar."""
        if monotonic() >= self._next:
            self._bar.update(done - self._done)
            self._done, self._next = done, monotonic() + REDRAW

    def close(self) -> None:
        """Leave the bar as it is, and the cursor below it."""
        self._stack.close()

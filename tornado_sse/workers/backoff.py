"""How long to wait before something that ended is started again."""

FIRST = 0.1
"""Seconds before the first attempt."""

MOST = 10.0
"""Seconds before an attempt, at most."""

STEADY = 30.0
"""Seconds after which something is taken to run well."""


class Backoff:
    """Doubles the pause each time that something ends soon after it began."""

    def __init__(self) -> None:
        self._pause = FIRST

    def pause(self, lived: float) -> float:
        """Return the seconds to wait, after something ran for `lived` seconds."""
        if lived >= STEADY:
            self._pause = FIRST
        pause, self._pause = self._pause, min(2 * self._pause, MOST)
        return pause

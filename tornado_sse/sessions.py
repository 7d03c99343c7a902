"""Sessions that have no open stream: those lately left, and those disconnected on purpose."""

from collections.abc import Callable

from tornado_sse.expiring import ExpiringDict

LINGER = 60.0
"""Seconds for which a session is known after its last stream, so that one between two connects can be disconnected."""

Key = tuple[str, str]
"""User and session id: two users who pick the same id never meet."""


class Sessions:
    """Remembers sessions by (user, session id). `hold` is how long a disconnected one is answered 204, in seconds."""

    def __init__(self, hold: float, clock: Callable[[], float]) -> None:
        self._left: ExpiringDict[Key, bool] = ExpiringDict(LINGER, clock)
        self._disconnected: ExpiringDict[Key, bool] = ExpiringDict(hold, clock)

    def left(self, user: str, session: str) -> None:
        """The session's last stream ended by itself; it may come back."""
        self._left.set((user, session), value=True)

    def came(self, user: str, session: str) -> None:
        """The session has a stream: there is no need to remember it here."""
        self._left.discard((user, session))

    def known(self, user: str, session: str) -> bool:
        """Whether the session was open a while ago."""
        return self._left.get((user, session)) is not None

    def disconnect(self, user: str, session: str) -> None:
        """The session was disconnected: its streams are not to come back for a while."""
        self._left.discard((user, session))
        self._disconnected.set((user, session), value=True)

    def is_disconnected(self, user: str, session: str) -> bool:
        """Whether a connect is answered 204, which stops EventSource for good."""
        return self._disconnected.get((user, session)) is not None

    def purge(self) -> None:
        """Forget what is over."""
        self._left.purge()
        self._disconnected.purge()

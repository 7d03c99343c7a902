"""Sessions that have no open stream: those lately left, and those disconnected on purpose."""

from collections.abc import Callable

from tornado_sse.expiring import ExpiringDict

LINGER = 60.0
"""Seconds for which a session is known after its last stream, so that one between two connects can be disconnected."""

PER_USER = 1000
"""Disconnected sessions of one user that are remembered: users pick ids, and shall not push each other's out."""

Key = tuple[str, str]
"""User and session id: two users who pick the same id never meet."""


class _Disconnected(ExpiringDict[Key, bool]):
    """Of a user with more than PER_USER the oldest goes first."""

    __slots__ = ("_of",)

    def __init__(self, ttl: float, clock: Callable[[], float]) -> None:
        super().__init__(ttl, clock)
        self._of: dict[str, dict[str, None]] = {}

    def set(self, key: Key, value: bool) -> None:  # noqa: FBT001 - the base's signature
        user, session = key
        self.discard(key)
        sessions = self._of.setdefault(user, {})
        sessions[session] = None
        super().set(key, value)
        if len(sessions) > PER_USER:
            self.discard((user, next(iter(sessions))))

    def discard(self, key: Key) -> None:
        super().discard(key)
        user, session = key
        sessions = self._of.get(user, {})
        sessions.pop(session, None)
        if not sessions:
            self._of.pop(user, None)


class Sessions:
    """Remembers sessions by (user, session id). `hold` is how long a disconnected one is answered 204, in seconds."""

    def __init__(self, hold: float, clock: Callable[[], float]) -> None:
        self._left: ExpiringDict[Key, bool] = ExpiringDict(LINGER, clock)
        self._disconnected = _Disconnected(hold, clock)

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

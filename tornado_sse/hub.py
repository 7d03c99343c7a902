"""The hub: which streams are open, by topic. Changed synchronously, never across an await."""

from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from tornado_sse import topic
from tornado_sse.topic import Topic


class Subscriber(Protocol):
    """What the hub wants to know of a stream. `channels` holds no name twice."""

    user: str
    session: str
    channels: tuple[str, ...]


K = TypeVar("K", bound=Hashable)
S = TypeVar("S", bound=Subscriber)


class Index(Generic[K, S]):
    """Streams by a key. Most keys have one stream, which then stands there itself: a dict for each would cost more."""

    def __init__(self) -> None:
        self._entries: dict[K, S | dict[S, None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> Collection[S]:
        """Return the key's streams in the order of their coming."""
        entry = self._entries.get(key)
        if entry is None:
            return ()
        return entry if isinstance(entry, dict) else (entry,)

    def add(self, key: K, stream: S) -> None:
        """Put a stream under the key."""
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = stream
        elif isinstance(entry, dict):
            entry[stream] = None
        else:
            self._entries[key] = {entry: None, stream: None}

    def remove(self, key: K, stream: S) -> None:
        """Take a stream away that is under the key."""
        entry = self._entries[key]
        if isinstance(entry, dict):
            del entry[stream]
        if entry is stream or not entry:
            del self._entries[key]


class Hub(Generic[S]):
    """All streams of this node, by user, by session and by channel."""

    def __init__(self) -> None:
        self.streams: dict[S, None] = {}
        self.users: Index[str, S] = Index()
        self.sessions: Index[tuple[str, str], S] = Index()
        self.channels: Index[str, S] = Index()

    def add(self, stream: S) -> None:
        """Let the stream get what is published from now on."""
        self.streams[stream] = None
        self.users.add(stream.user, stream)
        self.sessions.add((stream.user, stream.session), stream)
        for name in stream.channels:
            self.channels.add(name, stream)

    def remove(self, stream: S) -> None:
        """Forget the stream."""
        del self.streams[stream]
        self.users.remove(stream.user, stream)
        self.sessions.remove((stream.user, stream.session), stream)
        for name in stream.channels:
            self.channels.remove(name, stream)

    def session(self, user: str, session: str) -> Collection[S]:
        """Return the streams of one session."""
        return self.sessions.get((user, session))

    def matching(self, topics: Sequence[Topic]) -> Collection[S]:
        """Return the streams that listen to any of the topics, each once."""
        if len(topics) == 1:
            return self._listeners(topics[0])
        return dict.fromkeys(stream for topic in topics for stream in self._listeners(topic))

    def _listeners(self, topic: Topic) -> Collection[S]:
        if topic.kind == "user":
            return self.users.get(topic.name)
        if topic.kind == "channel":
            return self.channels.get(topic.name)
        if topic.kind == "session":
            return self.sessions.get((topic.name, topic.session))
        return self.streams


def topics_of(user: str, session: str, channels: Sequence[str]) -> Iterator[Topic]:
    """Name the topics that such a stream listens to."""
    yield topic.ALL
    yield topic.user(user)
    yield topic.session(user, session)
    yield from map(topic.channel, channels)

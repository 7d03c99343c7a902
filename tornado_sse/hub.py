"""The hub: which streams are open, by topic. Changed synchronously, never across an await."""

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Generic, Protocol, TypeVar

from tornado_sse import topic
from tornado_sse.steps import in_steps
from tornado_sse.topic import Topic


class Subscriber(Protocol):
    """What the hub wants to know of a stream. `channels` holds no name twice.

    `labelled`: whether it is to be told through which of its channels a message came.
    """

    user: str
    session: str
    channels: tuple[str, ...]
    labelled: bool


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


Labelled = tuple[tuple[str, ...], Sequence[S]]
"""Names of channels, and the streams that are told them."""


class Hub(Generic[S]):
    """All streams of this node, by user, by session and by channel; labelled streams have an index of channels apart.

    `labelling`: how many entries that has.
    """

    def __init__(self) -> None:
        self.streams: dict[S, None] = {}
        self.users: Index[str, S] = Index()
        self.sessions: Index[tuple[str, str], S] = Index()
        self.channels: Index[str, S] = Index()
        self.labelled: Index[str, S] = Index()
        self.labelling = 0

    def add(self, stream: S) -> None:
        """Let the stream get what is published from now on."""
        self.streams[stream] = None
        self.users.add(stream.user, stream)
        self.sessions.add((stream.user, stream.session), stream)
        if stream.labelled:
            self.labelling += len(stream.channels)
        index = self.labelled if stream.labelled else self.channels
        for name in stream.channels:
            index.add(name, stream)

    def remove(self, stream: S) -> None:
        """Forget the stream."""
        del self.streams[stream]
        self.users.remove(stream.user, stream)
        self.sessions.remove((stream.user, stream.session), stream)
        if stream.labelled:
            self.labelling -= len(stream.channels)
        index = self.labelled if stream.labelled else self.channels
        for name in stream.channels:
            index.remove(name, stream)

    def session(self, user: str, session: str) -> Collection[S]:
        """Return the streams of one session."""
        return self.sessions.get((user, session))

    def matching(self, topics: Sequence[Topic]) -> Collection[S]:
        """Return the streams that get what goes to any of the topics, each once, but those that `labels` names."""
        if len(topics) == 1:
            return self._listeners(topics[0])
        return dict.fromkeys(chain.from_iterable(map(self._listeners, topics)))

    def labels(self, topics: Sequence[Topic]) -> Iterator[Labelled[S] | None]:
        """Find the streams that get it for their channels alone, and are told which, by these names, of those open now.

        With several topics that takes a look at each stream, so it is done in steps: where None is yielded, one was.
        """
        listening = [(topic.name, tuple(found)) for topic in topics if (found := self._told(topic))]
        if len(topics) == 1:
            return iter([((name,), streams) for name, streams in listening])
        return _labels(listening, self.matching([topic for topic in topics if topic.kind != "channel"]))

    def reach(self, topics: Sequence[Topic]) -> int:
        """Count the streams that get what goes to any of the topics. Several topics take a look at each stream."""
        if len(topics) == 1:
            return len(self._listeners(topics[0])) + len(self._told(topics[0]))
        found = [*map(self._listeners, topics), *map(self._told, topics)]
        most = max(found, key=len)
        return len(most) + len({stream for few in found if few is not most for stream in few if stream not in most})

    def _told(self, topic: Topic) -> Collection[S]:
        return self.labelled.get(topic.name) if topic.kind == "channel" else ()

    def _listeners(self, topic: Topic) -> Collection[S]:
        if topic.kind == "user":
            return self.users.get(topic.name)
        if topic.kind == "channel":
            return self.channels.get(topic.name)
        if topic.kind == "session":
            return self.sessions.get((topic.name, topic.session))
        return self.streams


def _labels(listening: Iterable[tuple[str, Sequence[S]]], others: Collection[S]) -> Iterator[Labelled[S] | None]:
    through: dict[S, tuple[str, ...]] = {}
    for name, streams in listening:
        for step in in_steps(streams):
            for stream in step:
                if stream not in others:
                    through[stream] = (*through.get(stream, ()), name)
            yield None
    groups: dict[tuple[str, ...], list[S]] = {}
    for told in in_steps(through.items()):
        for stream, channels in told:
            groups.setdefault(channels, []).append(stream)
        yield None
    yield from groups.items()


def topics_of(user: str, session: str, channels: Sequence[str]) -> Iterator[Topic]:
    """Name the topics that such a stream listens to."""
    yield topic.ALL
    yield topic.user(user)
    yield topic.session(user, session)
    yield from map(topic.channel, channels)


def labels_for(topics: Sequence[Topic], stream: Subscriber) -> tuple[str, ...]:
    """Name the channels through which a message of these topics comes to a stream; none if it comes otherwise, too."""
    if not set(topics_of(stream.user, stream.session, ())).isdisjoint(topics):
        return ()
    return tuple([topic.name for topic in topics if topic.kind == "channel" and topic.name in stream.channels])

"""Interest: which topics this node listens to, counted, and what is to be told to the engine."""

from collections import Counter
from collections.abc import Iterable, Iterator

from tornado_sse.topic import Topic


class Interest:
    """Counts who wants a topic, and remembers what changed since it was last told."""

    def __init__(self) -> None:
        self._counts: Counter[Topic] = Counter()
        self._told: dict[Topic, bool] = {}  # of those that changed since: whether the engine knows of interest

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._counts)

    def add(self, topics: Iterable[Topic]) -> None:
        """Count one who wants the topics."""
        for topic in topics:
            if not self._counts[topic]:
                self._told.setdefault(topic, False)
            self._counts[topic] += 1

    def remove(self, topics: Iterable[Topic]) -> None:
        """Count one less."""
        for topic in topics:
            self._counts[topic] -= 1
            if not self._counts[topic]:
                del self._counts[topic]
                self._told.setdefault(topic, True)

    def begin(self) -> None:
        """Begin with an engine that knows of nothing."""
        self._told = dict.fromkeys(self._counts, False)

    def changes(self) -> tuple[list[Topic], list[Topic]]:
        """Return the topics to subscribe to and those to unsubscribe from; they count as told."""
        told, self._told = self._told, {}
        wanted: list[Topic] = []
        unwanted: list[Topic] = []
        for topic, known in told.items():  # at a rejoin of very many: one look at each
            if known is not (topic in self._counts):
                (unwanted if known else wanted).append(topic)
        return wanted, unwanted

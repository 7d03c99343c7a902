"""A fan-out over fake streams, whose turns of the loop are taken by hand."""

from collections import deque
from collections.abc import Callable

from support import FakeClock, FakeStream, make_message
from tornado_sse import topic
from tornado_sse.event import Encoding
from tornado_sse.fanout import Fanout
from tornado_sse.hub import Hub
from tornado_sse.message import Message
from tornado_sse.stats import Stats
from tornado_sse.steps import SLICE
from tornado_sse.topic import Topic

USER, OTHER, CHANNEL = topic.user("u"), topic.user("v"), topic.channel("c")


class TickingClock(FakeClock):
    """Time that also passes by looking at it: each look stands for a bit of work."""

    tick = 0.0

    def __call__(self) -> float:
        self.advance(self.tick)
        return super().__call__()


class Bench:
    """A fan-out over fake streams, and a loop whose turns are taken by hand."""

    def __init__(self) -> None:
        self.clock = TickingClock()
        self.stats = Stats()
        self.hub: Hub[FakeStream] = Hub()
        self.loop: deque[Callable[[], None]] = deque()
        self.fanout: Fanout[FakeStream] = Fanout(self.hub, self.stats, self.loop.append, self.clock)
        self.last = 0

    def open(
        self,
        *users: str,
        channels: tuple[str, ...] = (),
        encoding: Encoding = Encoding.BARE,
        labelled: bool = False,
    ) -> list[FakeStream]:
        streams = [FakeStream(user, channels=channels, encoding=encoding, labelled=labelled) for user in users]
        for stream in streams:
            self.hub.add(stream)
        return streams

    def deliver(self, *topics: Topic | tuple[Topic, ...]) -> list[Message]:
        messages = []
        for one in topics:
            self.last += 1
            several = (one,) if isinstance(one, Topic) else one
            messages.append(make_message(self.last, *several, accepted_at=self.clock.now))
        self.fanout.deliver(messages)
        return messages

    def turn(self) -> None:
        self.loop.popleft()()

    def run(self) -> int:
        """Take turns until nothing is left to do; return how many."""
        turns = 0
        while self.loop:
            self.turn()
            turns += 1
        assert self.fanout.idle
        return turns


def costly(clock: FakeClock, seconds: float = SLICE / 10) -> Callable[[bytes], int]:
    """A socket whose every send takes so long."""

    def takes(data: bytes) -> int:
        clock.advance(seconds)
        return len(data)

    return takes

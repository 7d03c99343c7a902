"""What comes from the broker, carried out in the order it came: messages, commands, and what is told of losses.

Messages take their time to reach the streams. A loss is told behind those that came before it, and before those after.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice

from tornado_sse import notices
from tornado_sse.brokers.base import Command, Refresh
from tornado_sse.census import Census, Malformed
from tornado_sse.message import Message
from tornado_sse.notices import CloseReason, GapReason
from tornado_sse.position import Position
from tornado_sse.registry import Registry
from tornado_sse.stream import Stream

Step = Callable[[], object]


class Inbound:
    """The receiver of one node's broker."""

    def __init__(self, registry: Registry, census: Census) -> None:
        self._registry = registry
        self._census = census
        self._fanout = registry.fanout
        self._waiting: deque[Step] = deque()

    def deliver(self, messages: Sequence[Message]) -> None:
        """Hand messages to the streams."""
        self._in_turn(lambda: self._fanout.deliver(messages))

    def reached(self, upto: int) -> None:
        """Know that no message up to the sequence is on its way any more."""
        self._in_turn(lambda: self._fanout.afterwards(lambda: self._complete(upto)))

    def obey(self, command: Command) -> None:
        """Lengthen streams, or end them behind what was published to them before."""
        self._in_turn(lambda: self._carry_out(command))

    def hear(self, words: bytes) -> None:
        """Know of streams on other nodes, and end those that one of them has replaced."""
        try:
            replaced = self._census.hear(words)
        except Malformed:
            self._registry.stats.messages_malformed += 1
            return
        for user in replaced:
            for oldest in islice(self._registry.hub.users.get(user), 1):
                oldest.close(CloseReason.REPLACED)

    def lost(self, first: int, last: int) -> None:
        """Tell every stream of a hole. One that opens later finds out from history."""
        streams = list(self._registry.hub.streams)
        self._behind_all(lambda: self._tell(streams, first, last))

    def renew(self, epoch: str, upto: int) -> None:
        """Tell every stream that history was lost."""
        streams = list(self._registry.hub.streams)
        self._behind_all(lambda: self._renew(streams, Position(epoch, upto)))

    def _carry_out(self, command: Command) -> None:
        registry = self._registry
        if isinstance(command, Refresh):
            registry.refresh(command.user, command.session, command.channels, command.expires_at)
        elif command.revoked:
            registry.revoke(command.user)
        else:
            registry.disconnect(command.user, command.session)

    def _in_turn(self, step: Step) -> None:
        if self._waiting:
            self._waiting.append(step)
        else:
            step()

    def _behind_all(self, step: Step) -> None:
        """Run a step when all that came before was handed to the streams, and hold back what comes after."""
        self._waiting.append(step)
        if len(self._waiting) == 1:
            self._fanout.afterwards(self._go_on)

    def _go_on(self) -> None:
        while self._waiting:
            if not self._fanout.idle:
                self._fanout.afterwards(self._go_on)
                return
            self._waiting.popleft()()

    def _complete(self, upto: int) -> None:
        self._fanout.completed = max(self._fanout.completed, upto)

    def _tell(self, streams: Collection[Stream], first: int, last: int) -> None:
        epoch = self._registry.epoch
        hole = str(Position(epoch, first - 1)), str(Position(epoch, last))
        self._notify(streams, hole, GapReason.EVICTED, Position(epoch, self._fanout.completed))

    def _renew(self, streams: Collection[Stream], now: Position) -> None:
        hole = str(Position(self._registry.epoch, self._fanout.completed)), str(now)
        self._registry.epoch = now.epoch
        self._fanout.completed = now.sequence
        for stream in streams:
            if stream.outbox is not None:
                stream.outbox.floor = now.sequence
        self._notify(streams, hole, GapReason.EPOCH, now)

    def _notify(self, streams: Collection[Stream], hole: tuple[str, str], reason: GapReason, now: Position) -> None:
        """Tell of a hole; the stream's position stays where it is. Who has no past yet shall ask for it again."""
        common = notices.gap(*hole, reason, position=str(now))
        for stream in streams:
            outbox = stream.outbox
            if stream.is_ended:
                continue
            if outbox is None or outbox.floor <= now.sequence:
                frame = common
            else:
                frame = notices.gap(*hole, reason, position=str(Position(now.epoch, outbox.floor)))
            if outbox is not None and outbox.held:
                stream.close(CloseReason.LIMIT)
            else:
                stream.notice(frame)
                self._registry.stats.gaps[reason.value] += 1

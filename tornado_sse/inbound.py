"""What comes from the broker: messages, commands, and what is told of losses.

Messages take their time to reach the streams. A loss is told behind those that came before it, and before those after.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from tornado_sse import notices
from tornado_sse.brokers.base import Command, Refresh
from tornado_sse.census import Census, Malformed
from tornado_sse.message import Message
from tornado_sse.notices import CloseReason, GapReason
from tornado_sse.position import Position
from tornado_sse.registry import Registry
from tornado_sse.stream import Stream


class Inbound:
    """The receiver of one node's broker."""

    def __init__(self, registry: Registry, census: Census) -> None:
        self._registry = registry
        self._census = census
        self._fanout = registry.fanout

    def deliver(self, messages: Sequence[Message]) -> None:
        """Hand messages to the streams."""
        self._fanout.deliver(messages)

    def reached(self, upto: int) -> None:
        """Know that no message up to the sequence is on its way any more."""
        self._fanout.afterwards(lambda: self._complete(upto))

    def obey(self, command: Command) -> None:
        """Lengthen streams, or end them behind what was published to them before."""
        registry = self._registry
        if isinstance(command, Refresh):
            registry.refresh(command.user, command.session, command.channels, command.expires_at)
        elif command.revoked:
            registry.revoke(command.user)
        else:
            registry.disconnect(command.user, command.session)

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
        self._fanout.afterwards(lambda: self._tell(streams, first, last), strict=True)

    def renew(self, epoch: str, upto: int) -> None:
        """Tell every stream that history was lost."""
        streams = list(self._registry.hub.streams)
        self._fanout.afterwards(lambda: self._renew(streams, Position(epoch, upto)), strict=True)

    def _complete(self, upto: int) -> None:
        self._fanout.completed = max(self._fanout.completed, upto)

    def _tell(self, streams: Collection[Stream], first: int, last: int) -> Iterator[None]:
        epoch = self._registry.epoch
        hole = str(Position(epoch, first - 1)), str(Position(epoch, last))
        return self._notify(streams, hole, GapReason.EVICTED, Position(epoch, self._fanout.completed))

    def _renew(self, streams: Collection[Stream], now: Position) -> Iterator[None]:
        hole = str(Position(self._registry.epoch, self._fanout.completed)), str(now)
        self._registry.epoch = now.epoch
        self._fanout.completed = now.sequence
        for stream in streams:
            if stream.outbox is not None:
                stream.outbox.floor = now.sequence
        return self._notify(streams, hole, GapReason.EPOCH, now)

    def _notify(
        self, streams: Collection[Stream], hole: tuple[str, str], reason: GapReason, now: Position
    ) -> Iterator[None]:
        """Tell of a hole; the stream's position stays where it is. Who has no past yet shall ask for it again."""
        common = notices.gap(*hole, reason, position=str(now))

        def tell(stream: Stream) -> None:
            outbox = stream.outbox
            if stream.is_ended:
                return
            if outbox is not None and outbox.held:
                stream.close(CloseReason.LIMIT)
                return
            if outbox is None or outbox.floor <= now.sequence:
                stream.notice(common)
            else:
                stream.notice(notices.gap(*hole, reason, position=str(Position(now.epoch, outbox.floor))))
            self._registry.stats.gaps[reason.value] += 1

        for stream in streams:  # at once: until its turn comes it may be given the past of before
            if stream.outbox is not None:
                stream.outbox.outdated = stream.outbox.held
        return map(tell, streams)

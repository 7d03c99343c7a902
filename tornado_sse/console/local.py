"""Operations on the one server of this process."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from tornado_sse.console.finding import Finder
from tornado_sse.console.operations import End, Ended, Find, Operation, Outcome, Page, Refused, Sample, Send, Sent
from tornado_sse.errors import ApiError
from tornado_sse.log import fingerprint

if TYPE_CHECKING:
    from tornado_sse.node import Node

STRIDE = 500
"""Streams looked at in one turn of the loop: about a millisecond."""


class LocalOperations:
    """What those who run it can ask of a node. `drain` stops the process; None: nobody here may."""

    def __init__(self, node: "Node", drain: Callable[[], None] | None = None) -> None:
        self._node = node
        self.on_drain = drain

    async def samples(self) -> dict[int, Sample | None]:
        """Look at the node."""
        return {0: self.sample()}

    async def perform(self, operation: Operation) -> Outcome:
        """Do it."""
        try:
            match operation:
                case Find():
                    return await self._find(operation)
                case End():
                    return await self._end(operation)
                case Send():
                    return await self._send(operation)
        except ApiError as error:
            return Refused(error.status, error.message)
        return self.sample()

    def drain(self) -> None:
        """Stop, as at SIGTERM."""
        if self.on_drain is None:
            raise ApiError(HTTPStatus.NOT_IMPLEMENTED, "this server is part of an application, which alone can stop it")
        self.on_drain()

    def sample(self) -> Sample:
        """Look at the node."""
        node, registry, stats = self._node, self._node.registry, self._node.stats
        return Sample(
            ready=node.ready,
            draining=node.draining,
            broker_up=node.broker.health().up,
            streams=len(registry.hub.streams),
            sessions=len(registry.hub.sessions),
            users=len(registry.hub.users),
            outbox_bytes=stats.outbox_bytes,
            backlogged=stats.backlogged_streams,
            opened=stats.streams_opened,
            closed=dict(stats.streams_closed),
            published=stats.messages_published["accepted"],
            delivered=stats.messages_delivered,
            bytes_sent=stats.bytes_sent,
            delivery=list(stats.delivery.counts),
            lag=list(stats.loop_lag.counts),
        )

    async def _find(self, wanted: Find) -> Page:
        finder = Finder(wanted, fingerprint, self._node.clocks.monotonic())
        streams = list(self._node.registry.hub.streams)
        for begin in range(0, len(streams), STRIDE):
            finder.look_at(streams[begin : begin + STRIDE])
            await asyncio.sleep(0)
        return finder.page()

    async def _end(self, wanted: End) -> Ended:
        """Keep the sessions out for a while, too; of a user's, those that are open here."""
        streams = [
            stream
            for stream in self._node.registry.hub.users.get(wanted.user)
            if wanted.session in (None, fingerprint(stream.session))
        ]
        for session in dict.fromkeys(stream.session for stream in streams):
            await self._node.disconnect(wanted.user, session)
        if wanted.session is None:
            await self._node.revoke(wanted.user)
        return Ended(len(streams))

    async def _send(self, wanted: Send) -> Sent:
        receipt = await self._node.publish(wanted.to, wanted.data, event=wanted.event)
        return Sent(str(receipt.position), receipt.streams)

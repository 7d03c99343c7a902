"""`POST /sse/publish`: one message, a JSON array, or NDJSON; a receipt for each."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
from msgspec import structs
from tornado.web import stream_request_body

from tornado_sse.auth import Scope
from tornado_sse.errors import BadRequest, Unavailable, UnsupportedMediaType
from tornado_sse.handlers.body import JSON, BodyHandler
from tornado_sse.message import Draft
from tornado_sse.publisher import Receipt
from tornado_sse.publishing import BadBody, BadItem, read_items, split_json, split_lines

PART = 200
"""Messages of a batch that are published in one turn of the loop."""

TRACEPARENT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")


class Accepted(msgspec.Struct, gc=False):
    """A receipt as it is answered."""

    index: int
    position: str
    streams: int
    duplicate: bool


class Refused(msgspec.Struct, gc=False):
    """What is answered for an item that did not go."""

    index: int
    error: str


Row = Accepted | Refused


@stream_request_body
class PublishHandler(BodyHandler):
    """Publishes what a backend hands in."""

    scope = Scope.PUBLISH

    async def post(self) -> None:
        """Publish it."""
        body = self.body()
        try:
            items, batch = self._split(body)
            drafts = self._traced(read_items(items, self.server.limits))
        except BadBody as bad:
            raise BadRequest(str(bad)) from bad
        rows: list[Row] = []
        while part := list(islice(drafts, PART)):
            receipts = await self._publish(part, first=not rows)
            rows += [_row(index, receipt) for index, receipt in enumerate(receipts, len(rows))]
            if len(part) == PART:
                await asyncio.sleep(0)  # a large batch is no reason to keep the streams waiting
        if not batch and isinstance(rows[0], Refused):
            raise BadRequest(rows[0].error)
        self.write_json({"receipts": rows})

    async def _publish(self, part: list[Draft | BadItem], *, first: bool) -> Sequence[Receipt | BadItem]:
        """Publish a part of the body; what can't go behind what went already is named item by item."""
        try:
            return await self.server.publish_drafts(part)
        except Unavailable as error:
            if first:
                raise
            return [BadItem(error.message)] * len(part)

    def _traced(self, drafts: Iterator[Draft | BadItem]) -> Iterator[Draft | BadItem]:
        """Have each message carry the request's traceparent; one that is none starts no trace (W3C Trace Context)."""
        given = self.request.headers.get("traceparent", "") if self.server.settings.tracing else ""
        if not TRACEPARENT.fullmatch(given):
            return drafts
        return (structs.replace(draft, traceparent=given) if isinstance(draft, Draft) else draft for draft in drafts)

    def _split(self, body: bytes) -> tuple[list[bytes], bool]:
        media_type, most = self.media_type(), self.server.limits.items
        if media_type == JSON:
            return split_json(body, most)
        if media_type in NDJSON:
            return split_lines(body, most), True
        raise UnsupportedMediaType(JSON, *NDJSON)


def _row(index: int, receipt: Receipt | BadItem) -> Row:
    if isinstance(receipt, BadItem):
        return Refused(index, str(receipt))
    return Accepted(index, str(receipt.position), receipt.streams, receipt.duplicate)

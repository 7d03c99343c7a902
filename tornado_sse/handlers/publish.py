"""`POST /sse/publish`: one message, a JSON array, or NDJSON; a receipt for each."""

from typing import Any

from tornado.web import stream_request_body

from tornado_sse.auth import Scope
from tornado_sse.errors import BadRequest, UnsupportedMediaType
from tornado_sse.handlers.body import JSON, BodyHandler
from tornado_sse.publisher import Receipt
from tornado_sse.publishing import BadBody, BadItem, read_items, split_json, split_lines

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")


@stream_request_body
class PublishHandler(BodyHandler):
    """Publishes what a backend hands in."""

    scope = Scope.PUBLISH

    async def post(self) -> None:
        """Publish it."""
        body = self.body()
        try:
            items, batch = self._split(body)
            drafts = list(read_items(items, self.server.limits))
        except BadBody as bad:
            raise BadRequest(str(bad)) from bad
        receipts = await self.server.publish_drafts(drafts)
        if batch:
            self.write_json({"receipts": [_row(index, receipt) for index, receipt in enumerate(receipts)]})
        elif isinstance(receipts[0], BadItem):
            raise BadRequest(str(receipts[0]))
        else:
            self.write_json({"receipts": [_row(0, receipts[0])]})

    def _split(self, body: bytes) -> tuple[list[bytes], bool]:
        media_type = self.media_type()
        if media_type == JSON:
            return split_json(body)
        if media_type in NDJSON:
            return split_lines(body), True
        raise UnsupportedMediaType(JSON, *NDJSON)


def _row(index: int, receipt: Receipt | BadItem) -> dict[str, Any]:
    if isinstance(receipt, BadItem):
        return {"index": index, "error": str(receipt)}
    return {
        "index": index,
        "position": str(receipt.position),
        "streams": receipt.streams,
        "duplicate": receipt.duplicate,
    }

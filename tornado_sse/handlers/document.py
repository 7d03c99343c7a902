"""`GET /openapi.json`: the OpenAPI document."""

import msgspec

from tornado_sse.handlers.base import BaseHandler
from tornado_sse.handlers.sessions import SessionRequest
from tornado_sse.openapi.document import document

_DOCUMENT = msgspec.json.encode(document(SessionRequest))


class DocumentHandler(BaseHandler):
    """Describes the public operations, for people and for generators of clients."""

    def get(self) -> None:
        """Answer with the document."""
        self.write(_DOCUMENT)

    def head(self) -> None:
        """Answer as `get` does, without the document."""
        self.get()

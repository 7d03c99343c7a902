"""`GET /sse/send?userId=&message=`: an unnamed event to every stream of a user, for tests and debugging."""

from tornado_sse.auth import Scope
from tornado_sse.errors import BadRequest
from tornado_sse.handlers.base import BaseHandler


class SendHandler(BaseHandler):
    """Publishes from a query string. Takes its token from the Authorization header alone, never from a cookie."""

    async def get(self) -> None:
        """Send it."""
        principal = await self.bearer()
        principal.require(Scope.PUBLISH)
        receipt = await self.server.publish({"user": self._required("userId")}, self._required("message"))
        self.write_json({"message": f"Message {receipt.position} sent to {receipt.streams} open streams"})

    def _required(self, name: str) -> str:
        values = self.query_values(name)
        if len(values) != 1:
            raise BadRequest(f"the query must have {name} once")
        return values[0]

"""The console and what it asks for, all of it with an admin's token: docs/console.md."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from tornado.routing import URLSpec
from tornado.web import RequestHandler, stream_request_body

from tornado_sse.auth import Principal, Scope
from tornado_sse.console.operations import MOST_ROWS, End, Find, Outcome, Refused, Send
from tornado_sse.errors import ApiError, BadRequest
from tornado_sse.handlers.base import BaseHandler
from tornado_sse.handlers.body import BodyHandler
from tornado_sse.handlers.connect import ConnectHandler
from tornado_sse.handlers.page import PageHandler
from tornado_sse.log import logger

if TYPE_CHECKING:
    from tornado_sse.console.node import Console

LIVE = "console"
"""The session that all streams of figures belong to."""


class LiveHandler(ConnectHandler):
    """`GET /api/live`: an event `figures` every second, after those of the last five minutes."""

    server: "Console"

    async def get(self, session_id: str = LIVE) -> None:
        """Open a stream."""
        await super().get(session_id)

    async def head(self, session_id: str = LIVE) -> None:
        """Answer as `get` would, but open nothing."""
        await super().head(session_id)

    async def session_owner(self, session_id: str) -> Principal:  # noqa: ARG002 - they share one
        """Return the admin who asks."""
        principal = await self.bearer()
        principal.require(Scope.ADMIN)
        return principal

    def _last_event_id(self) -> str:
        return super()._last_event_id() or self.server.since


class SessionsHandler(BaseHandler):
    """`GET /api/sessions`: open streams, searched, sorted and by the page."""

    server: "Console"

    async def get(self) -> None:
        """Find them."""
        (await self.bearer()).require(Scope.ADMIN)
        given = {name: self.query_values(name)[-1] for name in self.request.query_arguments}
        try:
            wanted = msgspec.convert(given, Find, strict=False)
        except msgspec.ValidationError as error:
            raise BadRequest(str(error)) from error
        if wanted.limit > MOST_ROWS:
            raise BadRequest(f"`limit` is {wanted.limit}; at most {MOST_ROWS} are allowed")
        self.write_json(answer(await self.server.operations.perform(wanted)))


class ActionHandler(BodyHandler):
    """Something that an admin does; it is logged."""

    scope = Scope.ADMIN
    server: "Console"

    async def authorize(self) -> None:
        """Note who asks."""
        self.principal = await self.bearer()
        self.principal.require(self.scope)

    def note(self, action: str, **what: object) -> None:
        """Log that it is done."""
        logger().info("console", action=action, by=self.principal.user, **what)


@stream_request_body
class DisconnectHandler(ActionHandler):
    """`POST /api/disconnect`: ends a session, or all of a user's."""

    async def post(self) -> None:
        """End them; 404 if nothing of theirs is open here."""
        wanted = self.read(End)
        ended = answer(await self.server.operations.perform(wanted))
        self.note("disconnect", user=wanted.user, session=wanted.session)
        if not ended["streams"]:
            raise ApiError(HTTPStatus.NOT_FOUND, "there is no such open stream")
        self.write_json(ended)


@stream_request_body
class SendHandler(ActionHandler):
    """`POST /api/send`: publishes a message, to try whether it arrives."""

    async def post(self) -> None:
        """Send it."""
        sent = answer(await self.server.operations.perform(self.read(Send)))
        self.note("send")
        self.write_json(sent)


@stream_request_body
class DrainHandler(ActionHandler):
    """`POST /api/drain`: stops the process, as SIGTERM does."""

    def post(self) -> None:
        """Begin."""
        self.body()
        self.note("drain")
        self.server.operations.drain()
        self.write_json({"draining": True}, HTTPStatus.ACCEPTED)


def answer(outcome: Outcome) -> dict[str, Any]:
    """Return what was done, by name. Raises what was refused."""
    if isinstance(outcome, Refused):
        raise ApiError(HTTPStatus(outcome.status), outcome.message)
    return msgspec.structs.asdict(outcome)


def console_routes(console: "Console") -> list[URLSpec]:
    """Return the rules of the console and its API."""
    page: dict[str, Any] = {"server": console, "page": "console.html"}
    table: dict[str, type[RequestHandler]] = {
        r"/api/live": LiveHandler,
        r"/api/sessions": SessionsHandler,
        r"/api/disconnect": DisconnectHandler,
        r"/api/send": SendHandler,
        r"/api/drain": DrainHandler,
    }
    api = [URLSpec(pattern + "$", handler, {"server": console}) for pattern, handler in table.items()]
    files = r"/console/(base\.css|console\.css|console\.js|console-[a-z]+\.js)$"
    return [URLSpec(r"/console$", PageHandler, page), URLSpec(files, PageHandler, page), *api]

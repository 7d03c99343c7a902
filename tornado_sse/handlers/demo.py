"""The demo, in dev mode only: a page that shows a stream, and the few things that its buttons ask for."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from tornado.routing import URLSpec
from tornado.web import stream_request_body

from tornado_sse.auth import Principal
from tornado_sse.errors import AuthFailure, Forbidden, Unauthorized
from tornado_sse.handlers.base import BaseHandler
from tornado_sse.handlers.body import BodyHandler
from tornado_sse.handlers.origin import proves_origin
from tornado_sse.handlers.page import PageHandler
from tornado_sse.notices import CloseReason

if TYPE_CHECKING:
    from tornado_sse.node import Node

CHANNEL = "demo"
"""What every demo page listens to."""


class NewSession(msgspec.Struct, forbid_unknown_fields=True):
    """Whom the page plays."""

    name: str


class SessionAction(msgspec.Struct, forbid_unknown_fields=True, rename={"session_id": "sessionId"}):
    """Something done as the user of a session; the minted id is the proof."""

    session_id: str


class Note(SessionAction):
    """A text, sent as an event `note` to the user's own streams or as an `announcement` to all demo pages."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    to: Literal["me", "everyone"]


class HomeHandler(BaseHandler):
    """`GET /`: leads to the demo."""

    def get(self) -> None:
        """Redirect."""
        self.redirect("demo")


@stream_request_body
class ActionHandler(BodyHandler):
    """What a button of the page asks for; nothing but the page itself may."""

    async def authorize(self) -> None:
        """Turn away whatever the browser does not vouch for as a page of this server."""
        if not proves_origin(self.request.headers, ()):
            raise Forbidden(AuthFailure.ORIGIN, "only the demo page may ask for this")

    def owner(self, action: SessionAction) -> Principal:
        """Return whose session it is. Raises Unauthorized."""
        principal = self.server.open_minted(action.session_id)
        if principal is None:
            raise Unauthorized(AuthFailure.SESSION, "a session of the demo is wanted")
        return principal


class NewSessionHandler(ActionHandler):
    """`POST /demo/session`: who opens the demo gets a session for the name they like."""

    def post(self) -> None:
        """Mint it. `now` is unix time, so that the page can tell what was sent before it was there."""
        minted = self.server.mint(self.read(NewSession).name, channels=[CHANNEL])
        body = {
            "sessionId": minted.session_id,
            "userId": minted.user,
            "channel": CHANNEL,
            "expiresAt": int(minted.expires_at),
            "now": self.server.clocks.wall(),
        }
        self.write_json(body, HTTPStatus.CREATED)


class SendNoteHandler(ActionHandler):
    """`POST /demo/send`: publishes for the page, which holds no publisher's token."""

    async def post(self) -> None:
        """Publish it."""
        note = self.read(Note)
        user = self.owner(note).user
        data = {"from": user, "text": note.text, "at": self.server.clocks.wall()}
        to, event = ({"user": user}, "note") if note.to == "me" else ({"channel": CHANNEL}, "announcement")
        receipt = await self.server.publish(to, data, event=event)
        self.write_json({"position": str(receipt.position), "streams": receipt.streams})


class CutHandler(ActionHandler):
    """`POST /demo/cut`: lets the session's connections break, as a network does: no farewell, no end of the body."""

    def post(self) -> None:
        """Cut them."""
        action = self.read(SessionAction)
        streams = list(self.server.registry.hub.session(self.owner(action).user, action.session_id))
        for stream in streams:
            stream.close(CloseReason.WRITE_ERROR)
        self.write_json({"streams": len(streams)})


def demo_routes(server: "Node") -> list[URLSpec]:
    """Return the rules of the demo."""
    table: dict[str, type[BaseHandler]] = {
        r"/": HomeHandler,
        r"/demo/session": NewSessionHandler,
        r"/demo/send": SendNoteHandler,
        r"/demo/cut": CutHandler,
    }
    page: dict[str, Any] = {"server": server, "page": "demo.html"}
    return [
        *(URLSpec(pattern + "$", handler, {"server": server}) for pattern, handler in table.items()),
        URLSpec(r"/demo$", PageHandler, page),
        URLSpec(r"/demo/(base\.css|demo\.css|demo\.js|view\.js)$", PageHandler, page),
    ]

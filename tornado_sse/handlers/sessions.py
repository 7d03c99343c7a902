"""`/sse/sessions`: mints session ids for pages that can't send headers, and lengthens open streams."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from tornado.web import stream_request_body

from tornado_sse.auth import Scope
from tornado_sse.brokers.base import Refresh
from tornado_sse.errors import ApiError, AuthFailure, BadRequest, Forbidden
from tornado_sse.handlers.base import BaseHandler
from tornado_sse.handlers.body import BodyHandler
from tornado_sse.handlers.credentials import hold_against


class SessionRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"user_id": "userId"}):
    """Whom to mint for. `channels` are names or patterns; `ttl` in seconds, None: as long as the server allows."""

    user_id: str
    channels: list[str] = []
    ttl: Annotated[float, msgspec.Meta(gt=0)] | None = None


@stream_request_body
class SessionsHandler(BodyHandler):
    """Mints."""

    scope = Scope.SESSIONS

    async def post(self) -> None:
        """Answer with a signed session id."""
        wanted = self.read(SessionRequest)
        longest = self.server.settings.session_ttl
        if wanted.ttl is not None and wanted.ttl > longest:
            raise BadRequest(f"`ttl` is {wanted.ttl:g} seconds; at most {longest:g} are allowed")
        minted = self.server.mint(wanted.user_id, wanted.ttl or longest, wanted.channels)
        answer = {"sessionId": minted.session_id, "userId": minted.user, "expiresAt": int(minted.expires_at)}
        self.write_json(answer, HTTPStatus.CREATED)


class RefreshHandler(BaseHandler):
    """Lengthens the open streams of a session with a fresh token."""

    async def post(self, session_id: str) -> None:
        """Move the end of the session's streams to the token's, never to an earlier time.

        Of the streams, only of those whose channels the token allows. Where there may be other nodes all are told, and
        if no stream of this one was meant, nobody knows whether one was: 202. A node that is alone knows it.
        """
        principal = await self.bearer()
        principal.require(Scope.SUBSCRIBE)
        hold_against(principal, self.server.open_minted(session_id, expired_too=True), session_id)
        user, channels, expires_at = principal.user, principal.channels, principal.expires_at
        last_end = self.server.registry.refresh(user, session_id, channels, expires_at)
        if not self.server.broker.alone:
            await self.server.broker.announce(Refresh(user, session_id, channels, expires_at))
        elif last_end is None:
            raise self._refusal(user, session_id)
        if last_end is None:
            self.write_json({"expiresAt": int(expires_at)}, HTTPStatus.ACCEPTED)
        else:
            self.write_json({"expiresAt": int(last_end)})

    def _refusal(self, user: str, session_id: str) -> ApiError:
        if self.server.registry.hub.session(user, session_id):
            return Forbidden(AuthFailure.SCOPE, "the token does not allow the channels of the stream", Scope.SUBSCRIBE)
        return ApiError(HTTPStatus.NOT_FOUND, "the session has no open stream")

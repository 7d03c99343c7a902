"""`DELETE /sse/disconnect/{sessionId}`: closes all streams of a session, on every node, after a farewell."""

from http import HTTPStatus

from tornado_sse.brokers.base import Disconnect
from tornado_sse.errors import ApiError
from tornado_sse.handlers.credentials import SessionHandler
from tornado_sse.minting import looks_minted


class DisconnectHandler(SessionHandler):
    """Ends a session for its owner."""

    async def delete(self, session_id: str) -> None:
        """End it; 404 for one that is not known, whoever else may own one of that name."""
        principal = await self.session_owner(session_id)
        registry = self.server.registry
        minted = looks_minted(session_id) and not registry.sessions.is_disconnected(principal.user, session_id)
        if not minted and not registry.knows(principal.user, session_id):
            raise ApiError(HTTPStatus.NOT_FOUND, "there is no such session")
        await self.server.broker.announce(Disconnect(principal.user, session_id))
        self.clear_header("Content-Type")

"""`DELETE /sse/disconnect/{sessionId}`: closes all streams of a session, on every node, after a farewell."""

from http import HTTPStatus

from tornado_sse.brokers.base import Disconnect
from tornado_sse.errors import ApiError
from tornado_sse.handlers.credentials import SessionHandler
from tornado_sse.minting import looks_minted


class DisconnectHandler(SessionHandler):
    """Ends a session for its owner."""

    async def delete(self, session_id: str) -> None:
        """End it; 404 for one that there is not, whoever else may own one of that name.

        Where there may be other nodes nobody knows whether there is, and all are told.
        """
        principal = await self.session_owner(session_id)
        broker = self.server.broker
        if broker.alone and not self._is_known(principal.user, session_id):
            raise ApiError(HTTPStatus.NOT_FOUND, "there is no such session")
        await broker.announce(Disconnect(principal.user, session_id))
        self.clear_header("Content-Type")

    def _is_known(self, user: str, session_id: str) -> bool:
        registry = self.server.registry
        minted = looks_minted(session_id) and not registry.sessions.is_disconnected(user, session_id)
        return minted or registry.knows(user, session_id)

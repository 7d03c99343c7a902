"""Who may use a session: the credential, wherever it came from, held against the session id in the path."""

from tornado_sse.auth import Principal, Scope, bearer_token
from tornado_sse.errors import AuthFailure, Forbidden, Unauthorized
from tornado_sse.handlers.base import BaseHandler
from tornado_sse.handlers.origin import proves_origin
from tornado_sse.minting import NOT_YOURS, looks_minted, valid_session_id


class SessionHandler(BaseHandler):
    """A resource below a session id."""

    async def session_owner(self, session_id: str) -> Principal:
        """Return the user whom the session belongs to, who is the one that asks. Raises Unauthorized or Forbidden.

        In this order: the Authorization header, the session id itself if it was minted, the cookie (then the browser
        must vouch for the page), the query if that is switched on. A minted id beside a token only says whose it is.
        """
        token = self._token(session_id)
        minted = self.server.open_minted(session_id, expired_too=token is not None)
        if token is None:
            principal = minted
        else:
            principal = await self.server.authenticator.verify(token)
            hold_against(principal, minted, session_id)
        if principal is None:
            raise Unauthorized(AuthFailure.MISSING, "a bearer token or a minted session id is wanted")
        principal.require(Scope.SUBSCRIBE)
        return principal

    def _token(self, session_id: str) -> str | None:
        token = bearer_token(self.request.headers.get("Authorization"))
        if token is not None or looks_minted(session_id):
            return token
        return self._cookie() or self._query_token()

    def _cookie(self) -> str | None:
        settings = self.server.settings
        token = self.get_cookie(settings.session_cookie) if settings.session_cookie else None
        if token is not None and not proves_origin(self.request.headers, settings.allowed_origins):
            raise Forbidden(AuthFailure.ORIGIN, "a cookie counts only from a page of an allowed origin")
        return token

    def _query_token(self) -> str | None:
        sent = self.query_values("access_token") if self.server.settings.query_token else None
        return sent[-1] if sent else None


def hold_against(principal: Principal, minted: Principal | None, session_id: str) -> None:
    """Hold a token's principal against a session id, minted or plain. Raises Unauthorized."""
    owned = minted.user == principal.user if minted else valid_session_id(session_id)
    if not owned or principal.session not in (None, session_id):
        raise Unauthorized(AuthFailure.SESSION, NOT_YOURS)

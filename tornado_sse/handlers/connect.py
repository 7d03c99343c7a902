"""`GET /sse/connect/{sessionId}`: opens a stream. Here a request ends and a stream begins."""

from collections.abc import Iterator
from functools import lru_cache
from http import HTTPStatus
from itertools import islice
from typing import Any

from tornado_sse import notices, resume
from tornado_sse.admission import Rejection, UserCapPolicy
from tornado_sse.auth import Principal, Scope
from tornado_sse.brokers.base import Past
from tornado_sse.errors import ApiError, AuthFailure, BadRequest, Forbidden, Unauthorized, Unavailable
from tornado_sse.event import GZIP_HEADER, Encoding
from tornado_sse.handlers.address import client_address
from tornado_sse.handlers.credentials import SessionHandler
from tornado_sse.handlers.origin import cors_headers
from tornado_sse.hub import labels_for, topics_of
from tornado_sse.message import Message
from tornado_sse.notices import CloseReason
from tornado_sse.resume import ResumeResult
from tornado_sse.sockets import http_date, is_closed, is_encrypted, take_over
from tornado_sse.stream import Stream
from tornado_sse.topic import Topic, allows, channel, channel_problem

RETRY_AFTER = 5
"""Seconds after which who found no room may ask again."""


class TooManyStreams(ApiError):
    """429: the user or the address has as many streams as allowed."""

    def __init__(self, rejection: Rejection) -> None:
        message = f"this {rejection} has as many streams as allowed"
        super().__init__(HTTPStatus.TOO_MANY_REQUESTS, message, {"Retry-After": str(RETRY_AFTER)})
        self.rejection = rejection


class Overloaded(Unavailable):
    """503: this node takes no streams now; event-stream clients are shed softly instead."""

    def __init__(self, rejection: Rejection, reason: CloseReason) -> None:
        super().__init__(f"no new streams now: {reason}", retry_after=RETRY_AFTER)
        self.rejection = rejection
        self.reason = reason


class ConnectHandler(SessionHandler):
    """Checks who asks, then hands the socket over and is gone."""

    async def get(self, session_id: str) -> None:
        """Open a stream."""
        principal, channels, address = await self._admit(session_id)
        if is_encrypted(self):
            raise ApiError(HTTPStatus.NOT_IMPLEMENTED, "streams want a proxy in front that ends TLS")
        topics = list(topics_of(principal.user, session_id, channels))
        await self.server.broker.subscribe(topics)
        request = resume.read(self._last_event_id(), self.server.broker.epoch)
        stream = None
        try:
            stream = self._open(principal, session_id, channels, address, request.debt)
        finally:
            if stream is None:
                self.server.broker.unsubscribe(topics)
        if stream is not None:
            await self._begin(stream, topics, request)

    async def head(self, session_id: str) -> None:
        """Answer as `get` would, but open nothing."""
        principal, _, address = await self._admit(session_id)
        self._check_room(address)
        if self._answer_disconnected(principal.user, session_id):
            return
        self._set_stream_headers(self._encoding())
        await self.flush()  # before finish would claim a length of 0

    async def _admit(self, session_id: str) -> tuple[Principal, tuple[str, ...], str]:
        address = client_address(self.request, self.server.settings.trusted_proxies)
        self._check_room(address)  # cheaper than a signature
        asked = tuple(dict.fromkeys(self.query_values("channel")))
        labelled = self._wants_labels()
        if not labelled:
            self._check_channels(asked)
        principal = await self.session_owner(session_id)
        if labelled:
            return principal, self._possible(asked, principal), address
        if not all(allows(principal.channels, name) for name in asked):
            raise Forbidden(AuthFailure.SCOPE, "the token does not allow this channel", Scope.SUBSCRIBE)
        return principal, asked, address

    def _wants_labels(self) -> bool:
        return self.request.query_arguments.get("labels") == [b"true"]

    def _possible(self, names: tuple[str, ...], principal: Principal) -> tuple[str, ...]:
        """Leave out what can't be had: a stream that several tabs share is not to fail for one of them."""
        had = (name for name in names if not channel_problem(name) and allows(principal.channels, name))
        return tuple(islice(had, self.server.settings.max_channels))

    def _check_channels(self, names: tuple[str, ...]) -> None:
        most = self.server.settings.max_channels
        if len(names) > most:
            raise BadRequest(f"{len(names)} channels; at most {most} are allowed on one stream")
        for name in names:
            if problem := channel_problem(name):
                raise BadRequest(f"channel {problem}")

    def _open(
        self, principal: Principal, session_id: str, channels: tuple[str, ...], address: str, debt: str | None
    ) -> Stream | None:
        """Open the stream, or return None: answered, or gone. Nothing here waits: what was checked holds to the end."""
        server = self.server
        self._check_room(address)
        if self._answer_disconnected(principal.user, session_id):
            return None
        if is_closed(self):
            self.detach()
            return None
        replaced = self._to_be_replaced(principal.user)
        encoding = self._encoding()
        try:
            connection = take_over(self, server.settings.tcp_user_timeout)
        except OSError as error:
            raise Overloaded(Rejection.LIMIT, CloseReason.LIMIT) from error
        if replaced:
            replaced.close(CloseReason.REPLACED)
        try:
            return server.registry.open(
                connection,
                (self._head(encoding), debt),
                user=principal.user,
                session=session_id,
                channels=channels,
                labelled=self._wants_labels(),
                address=address,
                encoding=encoding,
                expires_at=principal.ends_at(server.clocks.wall(), server.settings.jwt_leeway),
            )
        except BaseException:
            connection.close()
            raise

    async def _begin(self, stream: Stream, topics: list[Topic], request: resume.Request) -> None:
        try:
            past = await self.server.broker.replay(self._resumed(topics), request.after)
        except BaseException as error:  # whatever it is: a stream that never begins would wait for ever
            stream.close(CloseReason.LIMIT)
            if isinstance(error, Unavailable):
                return
            raise
        if stream.is_ended:
            return
        stream.start(self._beginning(stream, request, past), past.upto)
        self.server.stats.connect.observe(self.request.request_time())

    def _resumed(self, topics: list[Topic]) -> list[Topic]:
        """Leave out the channels that begin now, whatever is resumed."""
        if "fresh" not in self.request.query_arguments:
            return topics
        fresh = set(map(channel, self.query_values("fresh")))
        return [topic for topic in topics if topic not in fresh]

    def _check_room(self, address: str) -> None:
        server = self.server
        if server.draining:
            raise Overloaded(Rejection.DRAINING, CloseReason.DRAINING)
        if server.caps.full(len(server.registry.hub.streams)):
            raise Overloaded(Rejection.LIMIT, CloseReason.LIMIT)
        if server.caps.address_full(server.registry.addresses[address]):
            raise TooManyStreams(Rejection.ADDRESS)

    def _to_be_replaced(self, user: str) -> Stream | None:
        streams, census = self.server.registry.hub.users.get(user), self.server.census
        if not self.server.caps.user_full(len(streams) + census.elsewhere(user)):
            return None
        if self.server.caps.user_policy is UserCapPolicy.REJECT:
            raise TooManyStreams(Rejection.USER)
        return None if census.replace(user, len(streams)) else next(iter(streams))

    def _last_event_id(self) -> str:
        headers = self.request.headers
        sent = self.request.query_arguments.get("lastEventId", [b""])[-1]
        return ("Last-Event-ID" in headers and headers["Last-Event-ID"]) or sent.decode(errors="replace")

    def _beginning(self, stream: Stream, request: resume.Request, past: Past) -> list[bytes | Message]:
        server = self.server
        gap = resume.find_gap(request, past, server.broker.epoch)
        if request.resuming:
            result = ResumeResult.GAP if gap else ResumeResult.RECOVERED
            server.stats.resumes[result.value] += 1
        if gap:
            server.stats.gaps[gap.reason.value] += 1
        opened = stream.channels if stream.labelled else None
        start = resume.Start(server.broker.epoch, server.registry.retry(), stream.encoding, opened)
        if stream.labelled:
            past = past._replace(messages=[_labelled(message, stream) for message in past.messages])
        return resume.opening(request, past, gap, start)

    def _encoding(self) -> Encoding:
        if self.request.version == "HTTP/1.0":
            return Encoding.BARE
        if self.server.settings.compression and _accepts_gzip(self.request.headers.get("Accept-Encoding", "")):
            return Encoding.GZIP
        return Encoding.CHUNKED

    def _stream_headers(self, encoding: Encoding) -> Iterator[tuple[str, str]]:
        yield "Content-Type", "text/event-stream"
        yield "Cache-Control", "no-store"
        yield "X-Accel-Buffering", "no"
        yield "X-Content-Type-Options", "nosniff"
        if self.server.settings.compression:
            yield "Vary", "Accept-Encoding"
        if encoding is Encoding.GZIP:
            yield "Content-Encoding", "gzip"
        yield from cors_headers(self.request.headers, self.server.settings.allowed_origins)

    def _set_stream_headers(self, encoding: Encoding) -> None:
        self.clear_header("Vary")
        for name, value in self._stream_headers(encoding):
            if name == "Vary":
                self.add_header(name, value)
            else:
                self.set_header(name, value)

    def _head(self, encoding: Encoding) -> bytes:
        date = http_date(self.server.clocks.wall())
        return _head_of(date, encoding, tuple(self._stream_headers(encoding)))

    def _answer_disconnected(self, user: str, session_id: str) -> bool:
        """Answer 204 if the session was disconnected on purpose, and tell whether it was."""
        if not self.server.registry.sessions.is_disconnected(user, session_id):
            return False
        self.server.stats.connects_rejected[Rejection.DISCONNECTED.value] += 1
        self.set_status(HTTPStatus.NO_CONTENT)
        self.clear_header("Content-Type")
        return True

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:  # noqa: ANN401 - Tornado's signature
        """Count those turned away, and send those away softly who can be."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, ApiError):
            self.server.stats.connects_rejected[_rejection(error).value] += 1
        if isinstance(error, Unavailable) and "text/event-stream" in self.request.headers.get("Accept", ""):
            self._shed(error.reason if isinstance(error, Overloaded) else CloseReason.LIMIT)
        else:
            super().send_error(status_code, **kwargs)

    def _shed(self, reason: CloseReason) -> None:
        """Send away softly: EventSource would give up for good on a 503, but comes back after an end."""
        self._set_stream_headers(Encoding.CHUNKED)
        position = resume.read(self._last_event_id(), self.server.registry.epoch).debt
        self.finish(notices.closing(reason, self.server.registry.retry(), position=position).body)


def _labelled(message: Message, stream: Stream) -> Message:
    channels = labels_for(message.topics, stream)
    return message.labelled(channels) if channels else message


@lru_cache(maxsize=64)  # the same for all that connect within a second, but for their origin
def _head_of(date: str, encoding: Encoding, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Date: {date}"]
    lines.append("Connection: close")  # what comes behind this request is thrown away, and its end is the end
    lines += [f"{name}: {value}" for name, value in headers]
    if encoding is not Encoding.BARE:
        lines.append("Transfer-Encoding: chunked")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head + GZIP_HEADER if encoding is Encoding.GZIP else head


def _rejection(error: ApiError) -> Rejection:
    if isinstance(error, TooManyStreams | Overloaded):
        return error.rejection
    if isinstance(error, Unauthorized | Forbidden):
        return Rejection.AUTH
    return Rejection.BROKER if isinstance(error, Unavailable) else Rejection.INVALID


def _accepts_gzip(accepted: str) -> bool:
    for item in accepted.lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False

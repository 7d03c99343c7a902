"""A node: the parts of one server and what can be asked of it, without routes and sockets that listen.

Handlers speak to it; `app` builds it.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus

from tornado_sse.admission import Caps, UserCapPolicy
from tornado_sse.auth import Authenticator, Principal
from tornado_sse.brokers.base import Broker, Disconnect
from tornado_sse.census import INTERVAL, Census
from tornado_sse.config import Settings
from tornado_sse.errors import ApiError, BadRequest, Unavailable
from tornado_sse.hub import topics_of
from tornado_sse.inbound import Inbound
from tornado_sse.jwks import Jwks
from tornado_sse.keys import KeyRing
from tornado_sse.message import Draft
from tornado_sse.metrics import NodeCollector, prometheus_registry
from tornado_sse.minting import Minted, Minter
from tornado_sse.outbox import Bounds
from tornado_sse.publisher import Publisher, Receipt
from tornado_sse.publishing import BadItem, Limits, read_fields
from tornado_sse.registry import Clocks, Registry, Timing
from tornado_sse.ring import SLOTS
from tornado_sse.slices import pause
from tornado_sse.stats import Stats
from tornado_sse.stream import Stream
from tornado_sse.ticker import Ticker

TICK = 0.1
"""Seconds between two looks at the clock, at most."""


class Node:
    """One node, to be used on one event loop. Raises KeyProblem for keys that are no good.

    `authenticator` None: one with the keys of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        clocks: Clocks,
        stats: Stats,
        authenticator: Authenticator | None = None,
    ) -> None:
        self.settings = settings
        self.clocks = clocks
        self.stats = stats
        self.started = False
        self._starting = asyncio.Lock()
        self.draining = False
        self.answering: set[asyncio.Task[None]] = set()
        self.registry = Registry(
            _bounds(settings),
            Timing(settings.keepalive, settings.retry, settings.disconnect_hold),
            clocks,
            self.stats,
            lambda callback: asyncio.get_running_loop().call_soon(callback),
        )
        self.broker = broker
        users = self.registry.hub.users
        self.census = Census(secrets.token_hex(8), lambda user: len(users.get(user)), clocks.monotonic)
        self.publisher = Publisher(self.broker, self.registry, settings.outbox_budget)
        url = None if authenticator else settings.jwks_url
        self._jwks = Jwks(url, clock=clocks.monotonic) if url else None
        self.authenticator = authenticator or self._authenticator(settings)
        self._minter = _minter(settings, clocks.wall)
        self._apply_limits(settings)
        self.prometheus = prometheus_registry(
            NodeCollector(
                self.registry,
                ready=lambda: self.ready,
                draining=lambda: self.draining,
                health=self.broker.health,
                max_streams=lambda: self.caps.streams,
                outbox_budget=lambda: self.publisher.budget,
            )
        )
        tick = min(TICK, settings.keepalive / SLOTS)
        self._ticker = Ticker(self._tick, tick)
        self._ticked = 0.0
        self._teller = Ticker(self._tell_counts, INTERVAL)

    async def start(self) -> None:
        """Join the running event loop. The handlers and `publish` do so by themselves when they are first used."""
        async with self._starting:
            if self.started:
                return
            self.registry.on_ended = self._unsubscribe
            await self.broker.start(Inbound(self.registry, self.census))
            self.registry.epoch = self.broker.epoch
            self.registry.poller.start()
            self._ticked = self.clocks.monotonic()
            self._ticker.start()
            if not self.broker.alone:
                self.registry.on_opened = lambda stream: self.census.note(stream.user)
                self._teller.start()
            self.started = True
        if self._jwks:
            await self._jwks.warm()

    async def close(self) -> None:
        """Close every stream at once and leave the loop. The server can't be started again."""
        self._ticker.stop()
        self._teller.stop()
        self.registry.abandon_all()
        self.registry.poller.close()
        await self.broker.close()
        if self._jwks:
            self._jwks.close()

    @property
    def ready(self) -> bool:
        """Whether to send clients here."""
        return self.started and not self.draining and self.broker.health().up

    async def publish(  # noqa: PLR0913 - the fields of a message, all by name
        self,
        to: object,
        data: object,
        *,
        event: str | None = None,
        idempotency_key: str | None = None,
        ttl: float | None = None,
        key: str | None = None,
    ) -> Receipt:
        """Publish one message from within the process.

        `to` is `"all"`, `{"user": U}`, `{"user": U, "session": S}`, `{"channel": C}`, or a list of these. A `data`
        that is a string goes as it is, anything else as JSON. Raises BadRequest, or Unavailable: then it may have
        gone all the same if an engine did not answer; with an `idempotency_key` a second try does no harm.
        """
        fields = {"to": to, "event": event, "idempotencyKey": idempotency_key, "ttl": ttl, "key": key}
        try:
            draft = read_fields(fields, data, self.limits)
        except BadItem as bad:
            self.publisher.count_invalid()
            raise BadRequest(str(bad)) from bad
        (receipt,) = await self.publish_drafts([draft])
        assert isinstance(receipt, Receipt)  # noqa: S101 - a draft gives a receipt; tells the type checker
        return receipt

    async def publish_drafts(self, drafts: Sequence[Draft | BadItem]) -> list[Receipt | BadItem]:
        """Publish what is good of the items read from a request."""
        if not self.started:
            await self.start()
        return await self.publisher.publish(drafts)

    async def disconnect(self, user: str, session: str) -> None:
        """End a session on every node, for good: for a while its id is answered 204."""
        await self.broker.announce(Disconnect(user, session))

    async def revoke(self, user: str) -> None:
        """End all streams of a user on every node. Their tokens stay good: that is for the issuer to end."""
        await self.broker.announce(Disconnect(user, revoked=True))

    def open_minted(self, session_id: str, *, expired_too: bool = False) -> Principal | None:
        """Return whom a minted session id stands for; None if it is none. Raises Unauthorized.

        `expired_too` is for where another credential is at hand, and the id's own time no longer matters.
        """
        return self._minter.open(session_id, expired_too=expired_too) if self._minter else None

    def mint(self, user: str, ttl: float | None = None, channels: Sequence[str] = ()) -> Minted:
        """Mint a session id, good for `ttl` seconds (None: the setting's). Raises BadRequest; 501 without a secret."""
        if self._minter is None:
            raise ApiError(HTTPStatus.NOT_IMPLEMENTED, "set session_secret (or jwt_secret) to mint session ids")
        return self._minter.mint(user, ttl or self.settings.session_ttl, channels)

    def reload(self, settings: Settings) -> None:
        """Take new keys and limits; open streams stay. Raises KeyProblem, then all stays as it was."""
        authenticator = self._authenticator(settings)
        minter = _minter(settings, self.clocks.wall)
        self.authenticator = authenticator  # a new one: what the old keys verified is forgotten with the old one
        self._minter = minter
        self._apply_limits(settings)

    def _apply_limits(self, settings: Settings) -> None:
        self.settings = settings
        self.registry.bounds = _bounds(settings)
        self.publisher.budget = settings.outbox_budget
        self.limits = Limits(settings.max_message_bytes, settings.max_batch_items)
        self.caps = Caps(
            settings.max_streams,
            settings.max_streams_per_user,
            settings.max_streams_per_address,
            UserCapPolicy(settings.user_cap_policy),
        )

        if not self.broker.alone:
            self.census.begin(settings.max_streams_per_user, (stream.user for stream in self.registry.hub.streams))

    def _authenticator(self, settings: Settings) -> Authenticator:
        secret = settings.jwt_secret
        keys = KeyRing(
            secret=secret.get_secret_value() if secret else None,
            key_files=settings.jwt_key_files,
            algorithms=settings.jwt_algorithms,
            jwks=self._jwks,
        )
        return Authenticator(
            keys,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=settings.jwt_leeway,
            clock=self.clocks.wall,
        )

    def _tick(self) -> Coroutine[None, None, None] | None:
        now = self.clocks.monotonic()
        self.stats.loop_lag.observe(max(0.0, now - self._ticked - self._ticker.interval))
        self._ticked = now
        return self._go_on() if self.registry.tick() else None

    async def _go_on(self) -> None:
        more = True
        while more:
            await pause()
            more = self.registry.tick()
        self._ticked = self.clocks.monotonic()

    async def _tell_counts(self) -> None:
        try:
            for report in self.census.reports():
                await self.broker.tell(report)
        except Unavailable:
            self.census.miss()

    def _unsubscribe(self, stream: Stream) -> None:
        self.census.note(stream.user)
        self.broker.unsubscribe(list(topics_of(stream.user, stream.session, stream.channels)))


def _bounds(settings: Settings) -> Bounds:
    return Bounds(settings.outbox_bytes, settings.outbox_age, settings.slow_policy)


def _minter(settings: Settings, clock: Callable[[], float]) -> Minter | None:
    secret = settings.session_secret or settings.jwt_secret
    return Minter(secret.get_secret_value(), clock=clock) if secret else None

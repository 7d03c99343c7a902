"""The keys of a JWKS URL (RFC 7517): fetched off the loop, cached, and kept when the server fails, hangs or lies."""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from tornado_sse.errors import Unavailable
from tornado_sse.keys import Key, KeyProblem, public_key
from tornado_sse.log import logger

BODY_BYTES = 65536
SET_KEYS = 64
FIRST_RETRY = 1.0  # seconds between tries while there is no key at all

_READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}  # no "oct": whoever could read a secret in a public document could sign with it


PATIENCE = 1.5
"""Of the time that a fetch has, in case it does not end by itself: two timers of one length would race."""


class Answer(NamedTuple):
    """What the server said: HTTP status and body."""

    status: int
    body: bytes


Fetch = Callable[[str], Awaitable[Answer]]


class Jwks:
    """A key set that follows its URL. One fetch at a time, shared by all who wait; none before it is asked for keys.

    Keys older than `refresh` seconds are still used while newer ones are fetched behind them. A token with an unknown
    `kid` starts a fetch too, but no two fetches start within `cooldown` seconds (1 s while there is no key at all).
    A fetch takes at most `timeout` seconds. `fetch` may raise anything; `clock` gives seconds that only grow.
    """

    def __init__(  # noqa: PLR0913 - the injected edges, and three times that tests shorten
        self,
        url: str,
        *,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
        refresh: float = 300.0,
        cooldown: float = 30.0,
        timeout: float = 3.0,
    ) -> None:
        self._url = url
        self._version = 0
        self._fetch = fetch or Fetcher(timeout)
        self._clock = clock
        self._refresh = refresh
        self._cooldown = cooldown
        self._timeout = timeout
        self._keys: list[Key] = []
        self._task: asyncio.Task[None] | None = None
        self._started_at = self._fetched_at = self._warned_at = -math.inf

    @property
    def version(self) -> int:
        """Grows with every change of the keys. Asking starts a refresh when due."""
        self._revalidate()
        return self._version

    async def warm(self) -> None:
        """Fetch the keys for the first time; never raises, a failure is logged and mended by later requests."""
        await self._news()

    def at_hand(self, alg: str, kid: str | None) -> list[Key]:
        """Give the keys that may have signed a token with this header; never waits, but starts a refresh when due.

        A token without `kid` may be signed by any key of its algorithm, and a key without one may sign any token.
        """
        self._revalidate()
        return [key for key in self._keys if key.alg == alg and (kid is None or key.kid in {None, kid})]

    async def renew(self) -> None:
        """Wait for a fetch: the one under way, or a new one unless it is too soon. Raises Unavailable without keys."""
        await self._news()
        if not self._keys:
            raise Unavailable("the keys that verify tokens can not be had at the moment")

    def close(self) -> None:
        """End a fetch under way, and start no other."""
        self._started_at = math.inf  # so no pause after it ever ends
        if self._task:
            self._task.cancel()

    def _revalidate(self) -> None:
        if self._clock() - self._fetched_at >= self._refresh:
            self._start()

    async def _news(self) -> None:
        self._start()
        if self._task:
            await asyncio.wait({self._task})  # neither cancels the shared task with its waiter nor raises from it

    def _start(self) -> None:
        pause = self._cooldown if self._keys else FIRST_RETRY
        if self._task is None and self._clock() - self._started_at >= pause:
            self._started_at = self._clock()
            self._task = asyncio.create_task(self._update())

    async def _update(self) -> None:
        try:
            async with asyncio.timeout(self._timeout * PATIENCE):
                answer = await self._fetch(self._url)
            self._adopt(read_key_set(answer))
        except Exception as problem:  # noqa: BLE001 - whatever the server does, the last good keys stay in use
            self._warn(problem)
        finally:
            self._task = None

    def _adopt(self, keys: list[Key]) -> None:
        self._version += keys != self._keys
        self._keys = keys
        self._fetched_at = self._clock()

    def _warn(self, problem: Exception) -> None:
        if self._clock() - self._warned_at >= self._cooldown:
            self._warned_at = self._clock()
            logger().warning("jwks_fetch_failed", error=type(problem).__name__, reason=str(problem)[:200])


class Fetcher:
    """Gets a URL with Tornado, whatever HTTP client the application has configured for itself.

    Follows no redirect (it could lead inside the network), reads at most 64 KiB, and gives up after `timeout` seconds.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    async def __call__(self, url: str) -> Answer:
        """Get `url`; raises whatever Tornado and the network do."""
        client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=BODY_BYTES)
        try:
            response = await client.fetch(
                url,
                raise_error=False,
                follow_redirects=False,
                decompress_response=False,
                connect_timeout=self._timeout,
                request_timeout=self._timeout,
            )
        finally:
            client.close()
        return Answer(response.code, response.body)


def read_key_set(answer: Answer) -> list[Key]:
    """Give the usable keys of a JWK Set; raises KeyProblem if there is none, or if it isn't a set at all."""
    if answer.status != HTTPStatus.OK:
        raise KeyProblem(f"status {answer.status}; 200 is wanted")
    if len(answer.body) > BODY_BYTES:
        raise KeyProblem(f"a body of {len(answer.body)} bytes; at most {BODY_BYTES} are read")
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise KeyProblem("the body is no JSON") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > SET_KEYS:
        raise KeyProblem(f"no JWK Set of at most {SET_KEYS} keys")
    keys = [key for key in map(_read_jwk, members) if key]
    if not keys:
        raise KeyProblem("no usable key in the JWK Set")
    return keys


def _read_jwk(jwk: object) -> Key | None:
    """Give the key, or None if it isn't one that verifies tokens (RFC 7517 section 5: others are ignored)."""
    if not isinstance(jwk, dict) or not _for_signatures(jwk):
        return None
    try:
        key = public_key(_READERS[jwk["kty"]](jwk), jwk.get("kid"))
    except (LookupError, TypeError, ValueError, PyJWTError, UnsupportedAlgorithm):
        return None
    return key if jwk.get("alg", key.alg) == key.alg else None


def _for_signatures(jwk: dict[str, Any]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and isinstance(jwk.get("kid", ""), str)
        and "d" not in jwk  # a private key that is public is no key any more
    )

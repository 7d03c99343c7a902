"""Follow an event stream across reconnects, as EventSource does, and more stubbornly."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import uniform
from time import sleep

import click
import httpx

from tornado_sse.cli.client import refusal, unreachable
from tornado_sse.cli.decode import Decoder, Event

LONGEST_PAUSE = 30.0
"""Seconds that pauses between two tries grow to, before they are jittered; the server may ask for more."""

TIMEOUT = httpx.Timeout(10, read=310)
"""Seconds; a stream is silent for longer only if it is dead: keepalives come every 300 at the latest."""


@dataclass(slots=True)
class Follower:
    """One session's stream.

    `token` hands one out for each request. `tell` is told why a try ended. `retry` is in seconds, the server's word
    replaces it. `last_event_id` is where to begin, empty: with what comes next.
    """

    client: httpx.Client
    url: str
    channels: tuple[str, ...]
    token: Callable[[], str]
    tell: Callable[[str], None]
    last_event_id: str = ""
    retry: float = 2.0
    _failures: int = field(default=0, init=False)

    def events(self) -> Iterator[Event]:
        """Yield events until the server says that the session is over (204).

        Raises click.ClickException for an answer that another try would not change.
        """
        while True:
            try:
                with self.client.stream("GET", self.url, params=self._query(), headers=self._headers()) as response:
                    if response.status_code == httpx.codes.NO_CONTENT:
                        return
                    why, asked = "the stream ended", 0.0
                    if response.status_code == httpx.codes.OK:
                        yield from self._read(response)
                    else:
                        why, asked = self._turned_away(response)
            except httpx.RequestError as error:
                why, asked = unreachable(self.url, error), 0.0
                self._failures += 1
            self._pause(why, asked)

    def _query(self) -> list[tuple[str, str | int | float | bool | None]]:
        return [("channel", channel) for channel in self.channels]

    def _headers(self) -> httpx.Headers:
        headers = {
            "Authorization": f"Bearer {self.token()}",
            "Accept": "text/event-stream",
            "Cache-Control": "no-store",
        }
        if self.last_event_id:
            headers["Last-Event-ID"] = self.last_event_id
        return httpx.Headers(headers, encoding="utf-8")

    def _read(self, response: httpx.Response) -> Iterator[Event]:
        kind = response.headers.get("Content-Type", "")
        if kind.partition(";")[0].strip() != "text/event-stream":
            raise click.ClickException(f"{self.url} is no event stream: its Content-Type is {kind or 'missing'}")
        self._failures = 0
        decoder = Decoder(self.last_event_id, self.retry)
        for chunk in response.iter_bytes():
            yield from decoder.feed(chunk)
            self.last_event_id, self.retry = decoder.last_event_id, decoder.retry

    def _turned_away(self, response: httpx.Response) -> tuple[str, float]:
        response.read()
        if response.status_code != httpx.codes.TOO_MANY_REQUESTS and not response.is_server_error:
            raise click.ClickException(refusal(response))
        self._failures += 1
        after = response.headers.get("Retry-After", "")
        return refusal(response), float(after) if re.fullmatch("[0-9]{1,5}", after) else 0.0

    def _pause(self, why: str, asked: float) -> None:
        growing = min(LONGEST_PAUSE, self.retry * 2 ** min(max(self._failures - 1, 0), 10))
        pause = max(growing, self.retry, asked) * uniform(1, 1.25)  # noqa: S311 - spreads clients, guards nothing
        self.tell(f"{why}; trying again in {pause:.1f} s")
        sleep(pause)

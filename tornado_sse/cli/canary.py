"""`tornado-sse tail --canary`: a stream from here, and messages to it, each timed all the way."""

import json
from collections.abc import Callable, Generator, Iterator
from secrets import token_hex
from statistics import median
from time import monotonic, sleep
from urllib.parse import quote

import click
import httpx
import msgspec

from tornado_sse.cli.client import refusal, unreachable
from tornado_sse.cli.decode import Decoder, Event

PATIENCE = 5.0
"""Seconds that the stream has to open, and each message to arrive."""

INTERVAL = 1.0
"""Seconds between two messages."""


class Canary:
    """One user's session at the server at `url`. `token` hands out one that may subscribe and publish.

    Everything raises click.ClickException that says what did not work.
    """

    def __init__(self, url: str, user: str, session: str, token: Callable[[], str]) -> None:
        self._url = url
        self._to = {"user": user, "session": session}
        self._token = token
        self._client = httpx.Client(timeout=PATIENCE)

    def latencies(self) -> Generator[float]:
        """Open the stream, then send a message whenever the next is asked for; yield the seconds each took."""
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "text/event-stream"}
        path = f"{self._url}/sse/connect/{quote(self._to['session'], safe='')}"
        try:
            with self._client, self._client.stream("GET", path, headers=headers) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise click.ClickException(refusal(response))
                yield from self._measure(_events(response))
        except httpx.ReadTimeout:
            raise click.ClickException(f"nothing came within {PATIENCE:g} s: does a proxy buffer the stream?") from None
        except httpx.RequestError as error:
            raise click.ClickException(unreachable(self._url, error)) from error

    def _measure(self, events: Iterator[Event | None]) -> Iterator[float]:
        next(events)  # a stream begins with something; what is buffered does not
        while True:
            text, began = token_hex(8), monotonic()
            streams = self._publish(text)
            for event in events:
                if event and event.data == text:
                    break
                if monotonic() - began > PATIENCE:
                    raise click.ClickException(f"lost: accepted for {streams} streams, not here within {PATIENCE:g} s")
            else:
                raise click.ClickException("the stream ended")
            yield monotonic() - began

    def _publish(self, text: str) -> int:
        body = {"to": self._to, "event": "canary", "data": text, "ttl": 0}
        headers = {"Authorization": f"Bearer {self._token()}"}
        response = self._client.post(f"{self._url}/sse/publish", json=body, headers=headers)
        if not response.is_success:
            raise click.ClickException(refusal(response))
        answer = msgspec.json.decode(response.content, type=dict[str, list[dict[str, object]]])
        return int(str(answer["receipts"][0]["streams"]))


def _events(response: httpx.Response) -> Iterator[Event | None]:
    """Yield events as they come, and None for bytes that complete none."""
    decoder = Decoder("", 0)
    for chunk in response.iter_bytes():
        yield None
        yield from decoder.feed(chunk)


def report(canary: Canary, count: int | None, *, as_json: bool) -> None:
    """Print each latency, and a summary behind the last of `count`; None: go on until something is lost."""
    taken: list[float] = []
    latencies = canary.latencies()
    while len(taken) != count:
        if taken:
            sleep(INTERVAL)
        taken.append(next(latencies))
        line = json.dumps({"number": len(taken), "seconds": round(taken[-1], 6)}) if as_json else _ms(taken[-1])
        click.echo(line)
    latencies.close()
    if not as_json:
        click.echo(f"{len(taken)} of {len(taken)} arrived: median {_ms(median(taken))}, worst {_ms(max(taken))}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"

"""What a run is to do, and when. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from tornado_sse.cli.bench import marker, wire

NS = 1_000_000_000

WINDOW = 16
"""Messages on their way without a rate; when a request has more, two requests are."""

TEMPLATE = b'{"to":%b,"data":"%b"}'


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is.

    `authority` is as in the Host header, `base` the path before /sse, empty or without a slash at its end.
    """

    host: str
    port: int
    tls: bool
    authority: str
    base: str

    @classmethod
    def at(cls, url: str) -> "Server":
        """Read a URL, http or https. Raises ValueError."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[^\x21-\x7e]", url):
            raise ValueError(f"{url} does not begin with http:// or https:// and a host")
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname, port, tls, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to publish to how many streams.

    `rate` in messages a second, or None: as fast as the streams keep up. `size` is of one message's data in bytes;
    `batch` messages go in one request.
    """

    streams: int
    messages: int
    rate: float | None = None
    batch: int = 1
    size: int = 128

    def next_count(self, published: int) -> int:
        """Return how many messages the next request has; 0: there is none."""
        return min(self.batch, self.messages - published)

    def due_at(self, published: int) -> int:
        """Return when the next request is due, in nanoseconds from the first; without a rate at once, 0."""
        return int(published / self.rate * NS) if self.rate else 0

    def has_room(self, published: int, outstanding: float) -> bool:
        """Whether the next request may go without a rate; `outstanding` are messages on their way."""
        return outstanding + self.next_count(published) <= max(WINDOW, 2 * self.batch)


def shares(streams: int, processes: int) -> list[range]:
    """Deal streams out to processes."""
    bounds = [streams * index // processes for index in range(processes + 1)]
    return [range(a, b) for a, b in pairwise(bounds) if a < b]


def connect_request(server: Server, session: str, channels: Sequence[str], token: str) -> bytes:
    """Spell the request for a stream."""
    query = urlencode([("channel", name) for name in channels])
    headers = {"Host": server.authority, "Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
    target = f"{server.base}/sse/connect/{quote(session, safe='')}"
    return wire.request("GET", f"{target}?{query}" if query else target, headers)


class Composer:
    """Spells publish requests: message k goes to target k modulo their number."""

    def __init__(self, server: Server, plan: Plan, run: str, token: str, targets: Sequence[object]) -> None:
        self._target = f"{server.base}/sse/publish"
        self._headers = {
            "Host": server.authority,
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/x-ndjson",
        }
        self._begin = marker.prefix(run)
        self._padding = b"x" * (plan.size - marker.LENGTH)
        self._targets = [msgspec.json.encode(target) for target in targets]

    def request(self, first: int, count: int, ns: int) -> bytes:
        """Return the request for `count` messages from number `first` on, published at `ns`."""
        body = b"\n".join([self._item(number, ns) for number in range(first, first + count)])
        return wire.request("POST", self._target, self._headers, body)

    def _item(self, message: int, ns: int) -> bytes:
        number, target = divmod(message, len(self._targets))
        return TEMPLATE % (self._targets[target], marker.make(self._begin, ns, number) + self._padding)

"""The attack: whoever reads logs, metrics, traces, the console or error answers looks for secrets of others.

Canaries go in wherever a secret may go in, rightly or by mistake, and everything that can fail is made to fail.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import pytest

from abuse_support import sizes
from cli_support import Answer, scripted_server
from serve_support import Process, served
from server_support import token

FAILING = """
from tornado_sse import cli
from tornado_sse.auth import Authenticator
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.node import Node
from tornado_sse.registry import Registry
from tornado_sse.sessions import Sessions

def failing(owner, name, when):
    real = getattr(owner, name)

    def fails(self, *args, **kwargs):
        if when in repr((args, kwargs)):
            raise RuntimeError("forced") from KeyError("the cause")
        return real(self, *args, **kwargs)

    setattr(owner, name, fails)

failing(Authenticator, "_check_time", "boom")
failing(Sessions, "is_disconnected", "boom")
failing(Registry, "refresh", "")
failing(MemoryBroker, "publish", "boom")
failing(MemoryBroker, "announce", "")
failing(Node, "mint", "boom")
cli.main(["serve"])
"""
"""The server, broken where it disconnects and refreshes, and wherever else boom comes by."""

OPAQUE = "opaque-canary-0f9d2c71b7"
SESSION = "session-canary-51ab"
COOKIE = "cookie-canary-77fe"
JSON = {"Content-Type": "application/json"}
PROVEN = {"Sec-Fetch-Site": "same-origin"}
TRACEPARENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


class Attempt(NamedTuple):
    target: str
    method: str
    headers: dict[str, str]
    body: bytes = b""
    admin: bool = False


@dataclass
class Seen:
    """Everything that anybody but the client itself may come to see, and the secrets that must not be there."""

    secrets: dict[str, str]
    places: dict[str, bytes] = field(default_factory=dict)

    def found(self) -> list[tuple[str, str]]:
        return [
            (name, place)
            for (name, secret), (place, data) in product(self.secrets.items(), self.places.items())
            if secret.encode() in data
        ]


def credentials(jwt: str) -> Iterator[tuple[dict[str, str], str]]:
    """Headers and a query, with secrets where they belong and where they don't."""
    for secret in (jwt, OPAQUE):
        yield {"Authorization": f"Bearer {secret}", "Cookie": f"other={COOKIE}"}, ""
        yield {"Authorization": f"Basic {secret}", "X-Api-Key": secret, "Last-Event-ID": secret}, ""
        yield {"Authorization": f"Bearer {secret}, {secret}"}, ""
        yield {"Cookie": f"__Host-sse={secret}; other={COOKIE}"} | PROVEN, ""
        yield {"Referer": f"https://app.example/?access_token={secret}"}, f"access_token={secret}&token={secret}"
    yield {}, f"lastEventId={OPAQUE}&channel={OPAQUE}&channel=%FF{OPAQUE}"


def attempts(session: str, jwt: str) -> Iterator[Attempt]:
    """Every operation with every credential; and bodies, right and wrong."""
    for headers, query in credentials(jwt):
        yield Attempt(f"/sse/connect/{session}?{query}", "HEAD", headers)
        yield Attempt(f"/sse/connect/{session}%FF?{query}", "GET", headers)
        yield Attempt(f"/sse/connect/boom-{session}?{query}", "GET", headers)
        yield Attempt(f"/sse/disconnect/{session}?{query}", "DELETE", headers)
        yield Attempt(f"/sse/sessions/{session}/refresh?{query}", "POST", headers)
        yield Attempt(f"/sse/send?userId=u1&message=boom-{OPAQUE}&{query}", "GET", headers)
        yield Attempt(f"/sse/connect/{session}/more?{query}", "GET", headers)
        yield Attempt(f"/{session}/{OPAQUE}?{query}", "BREW", headers)
        for body in bodies(session):
            yield Attempt(f"/sse/publish?{query}", "POST", headers | JSON | TRACEPARENT, body)
            yield Attempt(f"/sse/sessions?{query}", "POST", headers | JSON, body)
        yield Attempt(f"/api/sessions?search={session}&{query}", "GET", headers, b"", admin=True)
        for body in (b'{"user":"u1","session":"%s"}', b'{"to":{"user":"u1","session":"%s"},"data":1}', b'{"%s'):
            for path in ("/api/disconnect", "/api/send"):
                yield Attempt(f"{path}?{query}", "POST", headers | JSON, body % session.encode(), admin=True)


def bodies(session: str) -> Iterator[bytes]:
    to = {"to": {"user": "u1", "session": session}, "data": OPAQUE}
    for message in ({}, {"idempotencyKey": OPAQUE, "key": OPAQUE, "event": OPAQUE}, {"ttl": OPAQUE}, {"data": "boom"}):
        yield json.dumps(to | message).encode()
    yield json.dumps({"userId": "boom", "channels": [OPAQUE, session]}).encode()
    yield json.dumps({"to": [OPAQUE, {"user": OPAQUE, "token": OPAQUE}], "data": 1}).encode()
    yield f'{{"to":{{"user":"{OPAQUE}","session":"{session}'.encode()
    yield b'{"to":"all","data":"' + OPAQUE.encode() + b'\xff"}'


MALFORMED = [
    "GET /sse/connect/{0}?access_token={1} HTTP/9.9\r\nHost: x\r\n\r\n",
    "GET /sse/connect/{0}?access_token={1} HTTP/1.1\r\nHost: x\r\nHost: y\r\nAuthorization: Bearer {1}\r\n\r\n",
    "GET /sse/connect/{0} HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {1}\r\n\r\n",
    "POST /sse/publish HTTP/1.1\r\nHost: x\r\nContent-Length: {1}\r\n\r\n",
    "POST /sse/publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {1}\r\n\r\n{1}",
    "{1} {0} {1}\r\n\r\n",
    "\x16\x03\x01{0}{1}\r\n\r\n",
]


async def provoke(process: Process, seen: Seen, session: str, jwt: str) -> int:
    """Try everything, keep each answer, and return how many were an internal error."""
    failures = 0
    for number, attempt in enumerate(attempts(session, jwt)):
        answer = await process.ask(
            attempt.target, attempt.headers, method=attempt.method, body=attempt.body, admin=attempt.admin, user=None
        )
        failures += answer.status == 500
        if answer.status != 201:  # but for the id that was asked for
            seen.places[f"answer {number}: {attempt}"] = repr((answer.headers, answer.body)).encode()
    for number, text in enumerate(MALFORMED):
        client = await process.client()
        await client.send(text.format(session, jwt).encode("latin-1"))
        seen.places[f"malformed {number}"] = await client.read_all()
    return failures


async def look_around(process: Process, seen: Seen) -> None:
    """See what those who run the server see."""
    admin = process.bearer("ops", scopes=["admin"])
    for path in ("/metrics", "/healthz", "/readyz", "/console", "/api/sessions"):
        seen.places[path] = (await process.ask(path, admin, admin=True, user=None)).body
    live = await process.client(admin=True)
    await live.request("/api/live", admin | {"Accept": "text/event-stream"})
    await live.streaming()
    seen.places["/api/live"] = (await live.data()).encode()


async def minted(process: Process) -> str:
    headers = process.bearer("backend", scopes=["sessions"]) | JSON
    answer = await process.ask("/sse/sessions", headers, method="POST", body=b'{"userId":"u1"}', user=None)
    return str(answer.json()["sessionId"])


def parts(name: str, jwt: str) -> dict[str, str]:
    """A token is lost even by its parts."""
    _, payload, signature = jwt.split(".")
    return {f"{name}'s payload": payload, f"{name}'s signature": signature}


@sizes(short=zip, long=product)
@pytest.mark.gen_test(timeout=300)
async def test_no_secret_is_seen_anywhere(
    size: Callable[..., Iterator[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch, held: Callable[[str], None]
) -> None:
    """The short form tries two pairs of a session and a token, the long one all."""
    with scripted_server(*[Answer()] * 1000) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        settings = {"tracing": True, "query_token": True, "log_level": "debug", "drain_time": 0, "keepalive": 300}
        async with served(code=FAILING, **settings) as process:
            scopes = ["subscribe", "publish", "sessions", "admin"]
            tokens = {name: token(name, scopes=scopes) for name in ("u1", "boom")}
            session = await minted(process)
            secrets = {"opaque": OPAQUE, "session": SESSION, "cookie": COOKIE} | parts("minted", session)
            seen = Seen(secrets | parts("token", tokens["u1"]) | parts("failing token", tokens["boom"]))
            for each in (SESSION, session):
                await process.opened(each, headers={"Authorization": f"Bearer {tokens['u1']}"})
            failures = [
                await provoke(process, seen, each, jwt) for each, jwt in size((SESSION, session), tokens.values())
            ]
            await look_around(process, seen)
        seen.places["log"] = json.dumps(process.log).encode()
        seen.places["output"] = process.output.encode()
        seen.places["traces"] = b"".join(request.body for request in collector.requests)
    assert seen.places["traces"]
    assert len(process.logged("request failed")) == sum(failures) > 40
    assert seen.found() == []
    held(
        f"{len(seen.secrets)} canaries, {len(seen.places)} answers and logs, {sum(failures)} forced errors: none found"
    )

"""The attack: forged, foreign and broken tokens at every operation, from every place that a token comes from.

The corpus is that of the unit tests (tests/bad_tokens.py), here over the wire, against the server in its own process.
"""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from abuse_process import metric
from abuse_support import sizes
from bad_tokens import BAD, FOREIGN
from client_support import Client, Response
from jwt_support import AUDIENCE, ISSUER, NOW, pem_file, token
from serve_support import Process, served
from tornado_sse.errors import AuthFailure

FROZEN = f"import time; time.time = lambda: {NOW}; from tornado_sse import cli; cli.main(['serve'])"
"""The server at the time that the tokens are made for."""

INVALID = re.compile(r'Bearer realm="tornado_sse", error="invalid_token", error_description="[ !#-\[\]-~]+"')
TOO_LONG = 100_000
BATCH = b'{"to":"all","data":"reached"}'
OPERATIONS = {
    "GET /sse/connect/s1": b"",
    "DELETE /sse/disconnect/s1": b"",
    "GET /sse/send?userId=u1&message=reached": b"",
    "POST /sse/publish": BATCH,
    "POST /sse/sessions": b'{"userId":"u1"}',
    "POST /sse/sessions/s1/refresh": b"",
}


class Attempt(NamedTuple):
    """One request with a bad token: what it is called, and how it looks."""

    name: str
    operation: str
    headers: dict[str, str]
    body: bytes
    failure: AuthFailure


def attempts(corpus: dict[AuthFailure, dict[str, Callable[[], str]]]) -> Iterator[Attempt]:
    """Every token at every place that can hold it."""
    for failure, tokens in corpus.items():
        for name, make in tokens.items():
            text = make()
            if len(text) > TOO_LONG:
                continue  # no head is as long
            for operation, body in OPERATIONS.items() if re.fullmatch("[!-~]+", text) else ():
                yield Attempt(name, operation, {"Authorization": f"Bearer {text}"}, body, failure)
            if re.fullmatch(r"[\w.=+/-]+", text, re.ASCII):
                cookie = {"Cookie": f"__Host-sse={text}", "Sec-Fetch-Site": "same-origin"}
                yield Attempt(name, "GET /sse/connect/s1", cookie, b"", failure)
            if "\ud800" not in text:
                yield Attempt(name, f"GET /sse/connect/s1?access_token={quote(text)}", {}, b"", failure)


async def refused(
    process: Process, corpus: dict[AuthFailure, dict[str, Callable[[], str]]], step: int
) -> tuple[int, int]:
    """Try every so many of them on one connection, and return how many tokens and attempts there were."""
    client = await process.client()
    tried: dict[AuthFailure, int] = {}
    names = set()
    for attempt in islice(attempts(corpus), 0, None, step):
        answer = await asked(client, attempt)
        assert (attempt.name, answer.status) == (attempt.name, 401), attempt
        assert INVALID.fullmatch(answer.headers["www-authenticate"]), attempt
        assert answer.json()["status"] == "UNAUTHORIZED"
        tried[attempt.failure] = tried.get(attempt.failure, 0) + 1
        names.add(attempt.name)
    for failure, count in tried.items():
        assert await metric(process, f'tornado_sse_auth_failures_total{{reason="{failure}"}}') == count
    return len(names), sum(tried.values())


async def asked(client: Client, attempt: Attempt) -> Response:
    method, _, target = attempt.operation.partition(" ")
    length = {"Content-Length": str(len(attempt.body)), "Content-Type": "application/json"} if attempt.body else {}
    await client.request(target, attempt.headers | length, method=method)
    await client.send(attempt.body)
    return await client.response()


@sizes(short=7, long=1)
@pytest.mark.gen_test(timeout=120)
async def test_no_bad_token_gets_in_anywhere(size: int, tmp_path: Path, held: Callable[[str], None]) -> None:
    """The server has a key of every kind and takes tokens from every place, so each has every chance to pass."""
    keys = ",".join(str(pem_file(tmp_path, name)) for name in ("rsa", "ec", "ed"))
    async with served(code=FROZEN, jwt_key_files=keys, query_token=True) as process:
        tokens, tried = await refused(process, BAD, size)
        await nothing_was_reached(process, token())
    async with served(code=FROZEN, jwt_issuer=ISSUER, jwt_audience=AUDIENCE, query_token=True) as process:
        more, tried_too = await refused(process, FOREIGN, size)
        await nothing_was_reached(process, token(iss=ISSUER, aud=AUDIENCE))
    assert tokens >= 60
    held(f"{tokens + more} bad tokens, {tried + tried_too} attempts: all 401 invalid_token, none reached a handler")


async def nothing_was_reached(process: Process, good: str) -> None:
    """Hold that no handler did its work; a good token shows that it could have."""
    for name in ("streams_opened_total", 'messages_published_total{result="accepted"}', "messages_delivered_total"):
        assert await metric(process, f"tornado_sse_{name}") == 0
    await process.opened(user="u1", headers={"Authorization": f"Bearer {good}"})

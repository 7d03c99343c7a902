"""The attack: a publisher, broken or bought, sends bodies made to cost more than they weigh, and names without end."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from abuse_process import MIB, resident
from abuse_support import sizes
from client_support import Response
from serve_support import Process, served

JSON, NDJSON = "application/json", "application/x-ndjson"
BODY = 8 * MIB
TO_ALL = b'{"to":"all","data":'
BATCH = 2_000
ROOM = 64 * MIB
"""What a body of 8 MiB may cost while it is read: a few times its size, and not some hundred bytes for each of its."""


def filled(before: bytes, part: bytes, after: bytes = b"", size: int = BODY) -> bytes:
    """A body of the largest size that is read, made of one part again and again."""
    return before + part * ((size - len(before) - len(after)) // len(part)) + after


large = partial(filled, size=MIB)  # larger than any good message, and still read


BODIES = {
    "an array of zeros": (JSON, filled(b"[0", b",0", b"]"), 400, "too many messages"),
    "an array of arrays": (JSON, filled(b"[[]", b",[]", b"]"), 400, "too many messages"),
    "an array that never ends": (JSON, filled(b"[0", b",0"), 400, "too many messages"),
    "an array of commas": (JSON, filled(b"[", b","), 400, "JSON is malformed"),
    "lines of zeros": (NDJSON, filled(b"", b"0\n"), 400, "too many messages"),
    "empty lines": (NDJSON, filled(b"", b"\n"), 400, "there is no message"),
    "blank lines": (NDJSON, filled(b"", b" \r\n"), 400, "there is no message"),
    "a deep array": (JSON, filled(b"", b"["), 400, "the JSON is nested too deeply"),
    "deep data": (JSON, large(TO_ALL, b"["), 400, "the JSON is nested too deeply"),
    "a deep target": (JSON, large(b'{"data":1,"to":', b"["), 400, "the JSON is nested too deeply"),
    "a long string": (JSON, large(TO_ALL + b'"', b"x", b'"}'), 400, "`data` takes"),
    "line ends, which grow": (JSON, TO_ALL + b'"' + b"\\n" * 65536 + b'"}', 400, "`data` takes"),
    "one key again and again": (JSON, large(b"{", b'"to":"all",', b'"data":1}'), 200, ""),
    "an unknown key again and again": (JSON, large(b"{", b'"x":1,', b'"data":1}'), 400, "Object contains unknown"),
    "very many targets": (JSON, large(b'{"data":1,"to":["all"', b',"all"', b"]}"), 400, "`to` must name"),
    "very many odd targets": (JSON, large(b'{"data":1,"to":[{}', b",{}", b"]}"), 400, "`to` must name"),
    "a long number": (JSON, large(b'{"to":"all","data":1,"ttl":', b"9", b"}"), 400, "Number out of range"),
    "invalid UTF-8": (JSON, large(TO_ALL + b'"', b"\xff", b'"}'), 400, "the JSON is not valid UTF-8"),
    "one message of 8 MiB": (JSON, filled(TO_ALL + b'"', b"x", b'"}'), 400, "the message takes"),
    "half a surrogate pair": (
        JSON,
        TO_ALL + b'"\\ud800"}',
        400,
        "the JSON ends too early, or in half a surrogate pair",
    ),
    "an overlong NUL": (JSON, TO_ALL + b'"\xc0\x80"}', 400, "the JSON is not valid UTF-8"),
    "a byte order mark": (JSON, b"\xef\xbb\xbf" + TO_ALL + b"1}", 400, "JSON is malformed"),
    "UTF-16": (JSON, (TO_ALL + b"1}").decode().encode("utf-16"), 400, "JSON is malformed"),
    "NUL bytes": (JSON, bytes(MIB), 400, "JSON is malformed"),
    "more than is read": (JSON, b" " * (BODY + 1), 413, "the body is above"),
}
"""What is sent, and how it is answered."""


def peak(process: Process) -> int:
    """Bytes of memory that the process ever had."""
    lines = Path(f"/proc/{process.running.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


async def post(process: Process, body: bytes, media_type: str = JSON) -> Response:
    return await process.ask("/sse/publish", {"Content-Type": media_type}, method="POST", body=body)


@pytest.mark.gen_test(timeout=60)
async def test_no_body_costs_much_more_than_it_weighs(held: Callable[[str], None]) -> None:
    """Each is answered, and the next message goes through."""
    async with served() as process:
        client = await process.opened()
        before, slowest = peak(process), 0.0
        for name, (media_type, body, status, reason) in BODIES.items():
            began = time.monotonic()
            answer = await post(process, body, media_type)
            slowest = max(slowest, time.monotonic() - began)
            assert (name, answer.status) == (name, status)
            assert answer.json().get("message", "").startswith(reason), name
            assert (await post(process, TO_ALL + json.dumps(name).encode() + b"}")).status == 200
            assert [await client.data() for _ in range(2 if status == 200 else 1)][-1] == name
        growth = peak(process) - before
        assert growth < ROOM
    held(f"{len(BODIES)} bodies of up to 8 MiB: slowest answer {slowest:.2f} s, memory +{growth / MIB:.0f} MiB at most")


async def publish(process: Process, messages: Iterator[dict[str, object]]) -> list[dict[str, Any]]:
    """Publish them all in batches, and return the receipts of the last one."""
    receipts: list[dict[str, Any]] = []
    while batch := list(islice(messages, BATCH)):
        answer = await post(process, "\n".join(map(json.dumps, batch)).encode(), NDJSON)
        assert answer.status == 200
        receipts = answer.json()["receipts"]
    return receipts


@sizes(short=20_000, long=1_000_000)
@pytest.mark.gen_test(timeout=600)
async def test_topics_without_end_push_the_oldest_out(size: int, held: Callable[[str], None]) -> None:
    """One message each: history stays within its bytes, the quietest go first, and who missed one is told so."""
    bound = size * 32
    async with served(history_bytes=bound) as process:
        (start,) = (await post(process, b'{"to":{"user":"nobody"},"data":0}')).json()["receipts"]
        before = resident(process)
        await publish(process, ({"to": {"user": f"u{n}"}, "data": f"{n}"} for n in range(size)))
        growth = resident(process) - before
        missed_all = {"Last-Event-ID": start["position"]}
        oldest, newest = [await process.connect(user=f"u{n}", headers=missed_all) for n in (0, size - 1)]
        assert (await oldest.event()).json()["reason"] == "evicted"
        while (event := await newest.event()).event == "stream-gap":
            pass  # beyond 100,000 topics of which all is gone, it may be a false alarm
        assert event.data == str(size - 1)
        assert growth < bound + 2 * ROOM  # 100,000 topics are remembered without any message
    held(f"{size} topics: memory +{growth / MIB:.0f} MiB, of which history may be {bound / MIB:.0f}")


def once(number: int) -> dict[str, object]:
    return {"to": "all", "data": number, "idempotencyKey": str(number).rjust(256, "k")}


@sizes(short=20_000, long=1_000_000)
@pytest.mark.gen_test(timeout=600)
async def test_idempotency_keys_without_end_push_the_oldest_out(size: int, held: Callable[[str], None]) -> None:
    """Keys are as long as they may be, and the bound in number holds."""
    kept = size // 10
    async with served(idempotency_keys=kept, history_bytes=0) as process:
        before = resident(process)
        await publish(
            process, ({"to": "all", "data": 0, "idempotencyKey": str(n).rjust(256, "k")} for n in range(size))
        )
        growth = resident(process) - before
        receipts = await publish(process, map(once, (size - 1, size - kept, 0)))
        assert [receipt["duplicate"] for receipt in receipts] == [True, True, False]
        assert growth < kept * 1024 + ROOM
    held(f"{size} idempotency keys of 256 characters, {kept} kept: memory +{growth / MIB:.0f} MiB")

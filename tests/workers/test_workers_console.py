"""The console over several workers: first joined by hand, then of real processes."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from client_support import DEADLINE
from nats_support import program as nats_program
from serve_support import Process
from tornado_sse.console.operations import (
    End,
    Ended,
    Find,
    Look,
    Operation,
    Outcome,
    Page,
    Refused,
    Row,
    Sample,
    Send,
    Sent,
)
from tornado_sse.log import fingerprint
from tornado_sse.workers.console import NOBODY, CrewOperations
from workers_support import BODY, crew, streams_everywhere

if TYPE_CHECKING:
    from tornado_sse.workers.crew import Crew

SAMPLE = Sample(True, False, True, 1, 1, 1, 0, 0, 1, {}, 0, 0, 0, [], [])


class FakeCrew:
    """Workers with their answers ready; None: none comes."""

    def __init__(self, *answers: Outcome | None) -> None:
        self.answers = answers
        self.asked: list[Operation] = []

    async def look(self) -> dict[int, Outcome | None]:
        self.asked.append(Look())
        return dict(enumerate(self.answers))

    async def perform(self, operation: Operation) -> list[Outcome]:
        self.asked.append(operation)
        return [answer for answer in self.answers if answer]

    async def perform_once(self, operation: Operation) -> Outcome | None:
        self.asked.append(operation)
        return self.answers[0]


def operations(*answers: Outcome | None) -> tuple[CrewOperations, FakeCrew]:
    fake = FakeCrew(*answers)
    return CrewOperations(cast("Crew", fake), lambda: None), fake


def row(user: str) -> Row:
    return Row(user, "00000000", "192.0.2.1", 0, 1.0, 0, 0)


@pytest.mark.gen_test
async def test_samples() -> None:
    speaker, _ = operations(SAMPLE, None)
    assert await speaker.samples() == {0: SAMPLE, 1: None}


@pytest.mark.gen_test
async def test_every_worker_is_asked_for_all_up_to_the_page() -> None:
    speaker, fake = operations(Page(2, [row("anna"), row("dora")]), None, Page(9, [row("bert")]))
    page = await speaker.perform(Find(sort="user", offset=1, limit=1))
    assert page == Page(11, [row("bert")])
    assert fake.asked == [Find(sort="user", offset=0, limit=2)]


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ((Ended(1), Ended(0), None), Ended(1)),
        ((Ended(2), Refused(503, "down")), Ended(2)),
        ((Refused(503, "down"), None), Refused(503, "down")),
        ((None, None), NOBODY),
    ],
)
@pytest.mark.gen_test
async def test_a_disconnect_is_for_all(answers: tuple[Outcome | None, ...], outcome: Outcome) -> None:
    speaker, _ = operations(*answers)
    assert await speaker.perform(End("anna")) == outcome


@pytest.mark.parametrize(("answer", "outcome"), [(Sent("a-1", 3), Sent("a-1", 3)), (None, NOBODY)])
@pytest.mark.gen_test
async def test_a_message_goes_through_one(answer: Outcome | None, outcome: Outcome) -> None:
    speaker, fake = operations(answer, Sent("a-2", 9))
    assert await speaker.perform(Send("all", "hello")) == outcome
    assert len(fake.asked) == 1


async def ask(process: Process, path: str, body: Any = None) -> Any:
    headers = process.bearer("ops", scopes=["admin"]) | (BODY if body is not None else {})
    content = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    answer = await process.ask(path, headers, method=method, body=content, admin=True, user=None)
    return answer.json() if answer.status < 300 else answer.status


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_console_of_real_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nats_program()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    async with crew(drain_time=1) as process:
        assert (await process.ask("/console", user=None, admin=True)).status == 200
        assert (await process.ask("/api/sessions", user=None, admin=True)).status == 401
        clients = await streams_everywhere(process)
        found = await ask(process, "/api/sessions?sort=age&descending=true&limit=200")
        sessions = {fingerprint(f"s{n}") for n in range(len(clients))}
        assert (found["found"], {each["session"] for each in found["rows"]}) == (len(clients), sessions)
        watching = await process.client(admin=True)
        await watching.request("/api/live", process.bearer("ops", scopes=["admin"]))
        await watching.streaming()
        async with asyncio.timeout(DEADLINE):
            while (figures := (await watching.event()).json())["streams"] != len(clients):
                pass
        assert (figures["processes"], figures["answering"]) == (2, 2)
        sent = await ask(process, "/api/send", {"to": "all", "data": "hello"})
        assert sent["streams"] > 0
        assert [await client.data() for client in clients] == ["hello"] * len(clients)
        assert await ask(process, "/api/disconnect", {"user": "u1", "session": fingerprint("s0")}) == {"streams": 1}
        assert (await clients[0].event()).json() == {"reason": "disconnected", "reconnect": False}
        assert await ask(process, "/api/disconnect", {"user": "nobody"}) == 404
        for _ in range(2):  # once more changes nothing
            assert await ask(process, "/api/drain", {}) == {"draining": True}
        assert await process.exit_code() == 0
    assert process.logged("draining")[0]["signal"] == "console"

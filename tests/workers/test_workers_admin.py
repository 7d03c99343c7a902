import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from client_support import Client, Response
from tornado_sse.listener import Listener
from tornado_sse.workers.admin import application
from tornado_sse.workers.words import Figures

if TYPE_CHECKING:
    from tornado_sse.workers.supervisor import Supervisor


class FakeSupervisor:
    """Knows what its workers answered; None: nothing."""

    def __init__(self, *answers: Figures | None, draining: bool = False) -> None:
        self.draining = draining
        self.console: Any = None  # what it answers is shown on real workers
        self.crew: Any = self
        self.restarts = dict.fromkeys(range(len(answers)), 0)
        self.answers = dict(enumerate(answers))

    async def figures(self) -> dict[int, Figures | None]:
        await asyncio.sleep(0)
        return self.answers


def figures(*, ready: bool) -> Figures:
    return Figures(0, ready=ready, metrics=f"# HELP a b\n# TYPE a gauge\na {int(ready)}\n")


@asynccontextmanager
async def serving(supervisor: FakeSupervisor) -> AsyncIterator[int]:
    listener = Listener(application(cast("Supervisor", supervisor), dev=False), "127.0.0.1", 0)
    listener.start()
    yield listener.port
    await listener.close()


async def ask(supervisor: FakeSupervisor, path: str, method: str = "GET") -> Response:
    async with serving(supervisor) as port:
        client = await Client.to(port)
        await client.request(path, method=method)
        response = await client.response(to_head=method == "HEAD")
        client.close()
        return response


@pytest.mark.parametrize(
    ("supervisor", "expected"),
    [
        (FakeSupervisor(figures(ready=True), figures(ready=True)), (200, {"status": "ready"})),
        (FakeSupervisor(figures(ready=False), None, figures(ready=True)), (200, {"status": "ready"})),
        (
            FakeSupervisor(figures(ready=False), None),
            (503, {"message": "no worker is ready", "status": "SERVICE_UNAVAILABLE"}),
        ),
        (
            FakeSupervisor(figures(ready=True), draining=True),
            (503, {"message": "draining", "status": "SERVICE_UNAVAILABLE"}),
        ),
    ],
)
@pytest.mark.gen_test
async def test_one_worker_that_is_ready_is_enough(
    supervisor: FakeSupervisor, expected: tuple[int, dict[str, str]]
) -> None:
    response = await ask(supervisor, "/readyz")
    assert (response.status, response.json()) == expected
    head = await ask(supervisor, "/readyz", "HEAD")
    assert (head.status, head.body) == (expected[0], b"")


@pytest.mark.gen_test
async def test_health_is_the_supervisors_own() -> None:
    response = await ask(FakeSupervisor(None), "/healthz")
    assert (response.status, response.json()) == (200, {"status": "ok"})
    assert response.headers["cache-control"] == "no-store"
    assert "server" not in response.headers


@pytest.mark.gen_test
async def test_metrics_of_all_workers() -> None:
    response = await ask(FakeSupervisor(figures(ready=True), None), "/metrics")
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.body.decode().splitlines()
    assert 'a{worker="0"} 1.0' in lines
    assert 'tornado_sse_worker_up{worker="1"} 0.0' in lines
    head = await ask(FakeSupervisor(figures(ready=True)), "/metrics", "HEAD")
    assert (head.status, head.headers["content-type"]) == (200, response.headers["content-type"])


@pytest.mark.parametrize(
    ("path", "method", "status", "name"),
    [
        ("/sse/publish", "GET", 404, "NOT_FOUND"),
        ("/metrics", "POST", 405, "METHOD_NOT_ALLOWED"),
    ],
)
@pytest.mark.gen_test
async def test_errors_have_the_shape_of_a_server(path: str, method: str, status: int, name: str) -> None:
    response = await ask(FakeSupervisor(None), path, method)
    assert (response.status, response.json()["status"]) == (status, name)

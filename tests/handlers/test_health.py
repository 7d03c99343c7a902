import json

import pytest

from server_support import serving
from tornado_sse.brokers.base import Health
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.history import History


class Flaky(MemoryBroker):
    """A broker that is down when told to be."""

    up = True

    def health(self) -> Health:
        return Health(up=self.up)


@pytest.mark.gen_test
async def test_liveness_depends_on_nothing() -> None:
    async with serving() as node:
        node.server.draining = True
        for admin in (False, True):
            response = await node.ask("/healthz", user=None, admin=admin)
            assert (response.status, response.json()) == (200, {"status": "ok"})
            assert (await node.ask("/healthz", method="HEAD", user=None, admin=admin)).status == 200


@pytest.mark.gen_test
async def test_readiness_fails_while_draining() -> None:
    async with serving() as node:
        response = await node.ask("/readyz", user=None, admin=True)
        assert (response.status, response.json()) == (200, {"status": "ready"})
        node.server.draining = True
        response = await node.ask("/readyz", user=None, admin=True)
        assert response.status == 503
        assert response.json() == {"message": "draining", "status": "SERVICE_UNAVAILABLE"}
        assert "retry-after" in response.headers


@pytest.mark.gen_test
async def test_readiness_fails_without_a_broker() -> None:
    broker = Flaky(History(size=1, ttl=1, max_bytes=1, clock=lambda: 0.0), idempotency_window=1)
    async with serving(broker=broker) as node:
        broker.up = False
        response = await node.ask("/readyz", user=None, admin=True)
        assert response.status == 503
        assert json.loads(response.body)["message"] == "the broker is down"
        assert b"tornado_sse_broker_up 0.0" in (await node.ask("/metrics", user=None, admin=True)).body
        broker.up = True
        assert (await node.ask("/readyz", user=None, admin=True)).status == 200


@pytest.mark.gen_test
async def test_metrics_are_for_prometheus_and_on_the_admin_listener_only() -> None:
    async with serving() as node:
        response = await node.ask("/metrics", user=None, admin=True)
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/plain; version=")
        assert b"\ntornado_sse_ready 1.0\n" in response.body
        head = await node.ask("/metrics", method="HEAD", user=None, admin=True)
        assert (head.status, head.headers["content-type"]) == (200, response.headers["content-type"])
        for target in ("/metrics", "/readyz"):
            assert (await node.ask(target, user=None)).status == 404

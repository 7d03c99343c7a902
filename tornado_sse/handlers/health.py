"""Liveness, readiness and metrics."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tornado_sse.errors import Unavailable
from tornado_sse.handlers.base import BaseHandler


class HealthHandler(BaseHandler):
    """`GET /healthz`: the process answers. Depends on nothing else, so that no broker's fault restarts us."""

    def get(self) -> None:
        """Answer."""
        self.write_json({"status": "ok"})

    head = get


class ReadyHandler(BaseHandler):
    """`GET /readyz`: whether to send clients here."""

    def get(self) -> None:
        """Answer 200, or 503 while draining or without a broker."""
        if not self.server.ready:
            raise Unavailable("draining" if self.server.draining else "the broker is down")
        self.write_json({"status": "ready"})

    head = get


class MetricsHandler(BaseHandler):
    """`GET /metrics`: for Prometheus."""

    def get(self) -> None:
        """Collect and answer."""
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(generate_latest(self.server.prometheus))

    head = get

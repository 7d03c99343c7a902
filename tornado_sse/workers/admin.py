"""What the supervisor answers at the admin port: for all workers."""

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from tornado.web import Application, RequestHandler

from tornado_sse.errors import error_body
from tornado_sse.handlers.application import GuardedApplication
from tornado_sse.handlers.console import console_routes
from tornado_sse.workers.merged_metrics import exposition

if TYPE_CHECKING:
    from tornado_sse.workers.supervisor import Supervisor


class AdminHandler(RequestHandler):
    """Answers JSON, in the same shape as a single server."""

    def initialize(self, supervisor: "Supervisor") -> None:
        """Take whom this speaks for."""
        self.supervisor = supervisor

    def set_default_headers(self) -> None:
        """Say what every answer says."""
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer an error."""
        self.set_status(status)
        self.finish(error_body(status, message))

    def write_error(self, status_code: int, **_: object) -> None:
        """Answer an error that nobody foresaw, or a method that is none."""
        status = HTTPStatus(status_code)
        self.refuse(status, status.phrase)


class HealthHandler(AdminHandler):
    """`GET /healthz`: the supervisor answers."""

    def get(self) -> None:
        """Answer."""
        self.write(msgspec.json.encode({"status": "ok"}))

    head = get


class ReadyHandler(AdminHandler):
    """`GET /readyz`: whether to send clients here: at least one worker takes them, and the kernel asks no dead one."""

    async def get(self) -> None:
        """Answer 200 or 503."""
        if self.supervisor.draining:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "draining")
        elif any(one and one.ready for one in (await self.supervisor.crew.figures()).values()):
            self.write(msgspec.json.encode({"status": "ready"}))
        else:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "no worker is ready")

    head = get


class MetricsHandler(AdminHandler):
    """`GET /metrics`: for Prometheus, all workers."""

    async def get(self) -> None:
        """Ask and answer."""
        crew = self.supervisor.crew
        texts = {worker: one.metrics if one else None for worker, one in (await crew.figures()).items()}
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(exposition(texts, crew.restarts))

    head = get


class NotFoundHandler(AdminHandler):
    """Every other path."""

    def prepare(self) -> None:
        """Answer 404."""
        self.refuse(HTTPStatus.NOT_FOUND, "there is nothing here")


def application(supervisor: "Supervisor", *, dev: bool) -> Application:
    """Make the application."""
    given = {"supervisor": supervisor}
    table = {r"/healthz": HealthHandler, r"/readyz": ReadyHandler, r"/metrics": MetricsHandler}
    return GuardedApplication(
        [*((path, handler, given) for path, handler in table.items()), *console_routes(supervisor.console)],
        dev=dev,
        default_handler_class=NotFoundHandler,
        default_handler_args=given,
        log_function=lambda _: None,
    )

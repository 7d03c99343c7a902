"""The table of routes: what path is answered by which file."""

from typing import TYPE_CHECKING

from tornado.routing import URLSpec
from tornado.web import RequestHandler

from tornado_sse.handlers.application import GuardedApplication
from tornado_sse.handlers.base import NotFoundHandler
from tornado_sse.handlers.client import ClientHandler
from tornado_sse.handlers.connect import ConnectHandler
from tornado_sse.handlers.demo import demo_routes
from tornado_sse.handlers.disconnect import DisconnectHandler
from tornado_sse.handlers.document import DocumentHandler
from tornado_sse.handlers.health import HealthHandler, MetricsHandler, ReadyHandler
from tornado_sse.handlers.publish import PublishHandler
from tornado_sse.handlers.send import SendHandler
from tornado_sse.handlers.sessions import RefreshHandler, SessionsHandler

if TYPE_CHECKING:
    from tornado_sse.node import Node

PUBLIC: dict[str, type[RequestHandler]] = {
    r"/sse/connect/([^/]+)": ConnectHandler,
    r"/sse/disconnect/([^/]+)": DisconnectHandler,
    r"/sse/send": SendHandler,
    r"/sse/publish": PublishHandler,
    r"/sse/sessions": SessionsHandler,
    r"/sse/sessions/([^/]+)/refresh": RefreshHandler,
    r"/openapi\.json": DocumentHandler,
    r"/healthz": HealthHandler,
}
FILES: dict[str, type[RequestHandler]] = {
    r"/sse/(client\.js|client\.js\.map)": ClientHandler,  # no operation: the OpenAPI document leaves it out
}
ADMIN: dict[str, type[RequestHandler]] = {
    r"/healthz": HealthHandler,
    r"/readyz": ReadyHandler,
    r"/metrics": MetricsHandler,
}


def public_routes(server: "Node") -> list[URLSpec]:
    """Return the rules of the public operations; in dev mode the demo's as well."""
    routes = _specs(PUBLIC | FILES, server)
    return routes + demo_routes(server) if server.settings.dev else routes


def admin_routes(server: "Node") -> list[URLSpec]:
    """Return the rules of the admin listener."""
    return _specs(ADMIN, server)


def application(server: "Node", routes: list[URLSpec]) -> GuardedApplication:
    """Make an application that answers only these routes. It logs no requests: paths and queries hold credentials."""
    return GuardedApplication(
        routes,
        dev=server.settings.dev,
        default_handler_class=NotFoundHandler,
        default_handler_args={"server": server},
        log_function=lambda _: None,
    )


def _specs(table: dict[str, type[RequestHandler]], server: "Node") -> list[URLSpec]:
    return [URLSpec(pattern + "$", handler, {"server": server}) for pattern, handler in table.items()]

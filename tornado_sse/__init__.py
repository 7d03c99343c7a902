"""A server for long-lived browser event streams (Server-Sent Events), on Tornado."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tornado_sse.app import EventServer
    from tornado_sse.config import Settings
    from tornado_sse.errors import BadRequest, Unavailable
    from tornado_sse.keys import KeyProblem

__version__ = "0.1.0"
__all__ = ["BadRequest", "EventServer", "KeyProblem", "Settings", "Unavailable", "__version__"]

_HOMES = {
    "EventServer": "tornado_sse.app",
    "Settings": "tornado_sse.config",
    "BadRequest": "tornado_sse.errors",
    "Unavailable": "tornado_sse.errors",
    "KeyProblem": "tornado_sse.keys",
}


def __getattr__(name: str) -> object:
    """Import the server when it is first asked for: the command line starts faster without it."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(name)

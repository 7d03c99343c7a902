"""Pages that come with the server: files on disk, which load nothing but each other."""

from pathlib import Path
from typing import TYPE_CHECKING

from tornado_sse.handlers.base import BaseHandler

if TYPE_CHECKING:
    from tornado_sse.node import Node

WEB = Path(__file__).parent.parent / "web"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: the page loads nothing but its own files, and nobody frames it."""


class PageHandler(BaseHandler):
    """A page, and the files that belong to it: the route decides which."""

    def initialize(self, server: "Node", page: str) -> None:  # type: ignore[override]  # the route says which page
        """Take the page's file name."""
        super().initialize(server)
        self._page = page

    def get(self, name: str | None = None) -> None:
        """Answer with the file as it is on disk."""
        file = WEB / (name or self._page)
        self.set_header("Content-Type", TYPES[file.suffix])
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        self.write(file.read_bytes())

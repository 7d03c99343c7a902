"""`GET /sse/client.js`: the browser client, built from client/ by `make client`, and its source map."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tornado_sse.handlers.base import BaseHandler

WEB = Path(__file__).parent.parent / "web"
TYPES = {
    "client.js": "text/javascript; charset=utf-8",
    "client.js.map": "application/json",
}


class File(NamedTuple):
    """A file's bytes, and the tag that changes with them."""

    body: bytes
    etag: str


@cache
def read(name: str) -> File:
    """Return the file as it was when first asked for."""
    body = (WEB / name).read_bytes()
    return File(body, f'"{sha256(body).hexdigest()[:32]}"')


class ClientHandler(BaseHandler):
    """Its address has no version, so browsers keep it, and ask each time whether it is still the same."""

    def get(self, name: str) -> None:
        """Answer with the file, or 304 if the browser has it."""
        file = read(name)
        self.set_header("Content-Type", TYPES[name])
        self.set_header("Cache-Control", "no-cache")
        self.set_header("ETag", file.etag)
        if self.check_etag_header():
            self.set_status(304)
        else:
            self.write(file.body)

    def head(self, name: str) -> None:
        """Answer as `get` does, without the file."""
        self.get(name)

"""What the tests of ways in to an engine stand on: an authority that signs certificates, and a node that is let in."""

import asyncio
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker_support import PATIENCE, USER, Node
from server_support import SECRET
from tornado_sse.app import EventServer
from tornado_sse.config import Settings


@dataclass(frozen=True)
class Authority:
    """Signs certificates; `ca` is its own."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def found(self) -> "Authority":
        self.folder.mkdir()
        self._openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=ca", "ca")
        return self

    def sign(self, name: str, host: str = "IP:127.0.0.1") -> Path:
        """Make a certificate; return a file with it and its key."""
        request = f"req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -x509 -days 1"
        self._openssl(f"{request} -addext subjectAltName={host} -CA ca.pem -CAkey ca.key", name)
        both = self.folder / f"{name}.both"
        both.write_text((self.folder / f"{name}.key").read_text() + (self.folder / f"{name}.pem").read_text())
        return both

    def _openssl(self, command: str, name: str) -> None:
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(["openssl", *command.split(), *files], cwd=self.folder, check=True, capture_output=True)

    def server(self, host: str = "IP:127.0.0.1", *, wants_certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
        context.load_cert_chain(self.sign("server", host))
        context.verify_mode = ssl.CERT_REQUIRED if wants_certificate else ssl.CERT_NONE
        return context


async def carries_a_message(url: str, **settings: Any) -> None:
    """Start a node as the settings say, and have a message go through the engine. Raises Unavailable, at once."""
    node = Node(EventServer(Settings(jwt_secret=SECRET, broker=url, broker_probe=2 * PATIENCE, **settings)).broker)
    try:
        async with asyncio.timeout(PATIENCE):
            await node.broker.start(node)
        await node.broker.subscribe([USER])
        (published,) = await node.publish(USER)
        await node.until_seen(published)
        assert (await node.broker.replay([USER], published.position.sequence - 1)).messages
        await node.broker.tell(b"words")
        await node.until(lambda: node.heard == [b"words"])
    finally:
        await node.broker.close()

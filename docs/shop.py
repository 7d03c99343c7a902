"""A page and a backend of one's own: the page listens, and its button makes the backend publish.

It reads the secret from sse.toml, where the server has it, too. `tornado-sse serve --allowed-origins
http://localhost:3000` in one terminal, `python docs/shop.py` in another, and a browser at http://localhost:3000.
"""

import asyncio
import os
import time
import tomllib
from pathlib import Path

import jwt
from tornado.escape import json_encode
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler

EVENTS = os.environ.get("EVENTS_URL", "http://localhost:8080")
PORT = int(os.environ.get("PORT", "3000"))
SECRET = tomllib.loads(Path("sse.toml").read_text(encoding="utf-8"))["jwt_secret"]
PAGE = """<!doctype html><title>Shop</title><button>Pay</button><ul></ul>
<script type="module">
import { connect } from "EVENTS/sse/client.js";
const stream = connect({
  url: "EVENTS", sessionId: "web-u1", channels: ["news"],
  token: async () => (await fetch("/event-token")).text(),
});
stream.addEventListener("order", ({ data }) => {
  document.querySelector("ul").append(Object.assign(document.createElement("li"), { textContent: data }));
});
document.querySelector("button").onclick = () => fetch("/pay", { method: "POST" });
</script>
""".replace("EVENTS", EVENTS)


def token(user: str, **claims: object) -> str:
    """Sign a token that is good for five minutes; the client asks for the next one in time."""
    return jwt.encode({"sub": user, "exp": time.time() + 300, **claims}, SECRET, algorithm="HS256")


class Page(RequestHandler):
    """The page."""

    def get(self) -> None:
        """Answer it."""
        self.write(PAGE)


class EventToken(RequestHandler):
    """A token for the user who is logged in, here always u1: your login comes here."""

    def get(self) -> None:
        """Answer it."""
        self.write(token("u1", channels=["news"]))


class Pay(RequestHandler):
    """A payment, of which all open pages of the user are told."""

    async def post(self) -> None:
        """Publish it. A status other than 200 raises HTTPClientError."""
        await AsyncHTTPClient().fetch(
            f"{EVENTS}/sse/publish",
            method="POST",
            headers={"Authorization": f"Bearer {token('shop', scope='publish')}", "Content-Type": "application/json"},
            body=json_encode({"to": {"user": "u1"}, "event": "order", "data": {"id": 7, "paid": True}}),
        )


async def main() -> None:
    """Serve until it is interrupted."""
    pages = [("/", Page), ("/event-token", EventToken), ("/pay", Pay)]
    Application(pages).listen(PORT, "127.0.0.1")
    print(f"listening on http://localhost:{PORT}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

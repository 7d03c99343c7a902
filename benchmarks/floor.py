"""The least that a request costs in Tornado: a handler that answers a little JSON, and one that opens a stream."""

import asyncio
import socket
import sys
from typing import ClassVar

from tornado.web import Application, RequestHandler


class Handler(RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.write(b"{}")

    post = get


class StreamHandler(RequestHandler):
    """Takes the socket and writes a head; checks nothing, and keeps nothing but the socket."""

    opened: ClassVar[list[socket.socket]] = []

    def get(self) -> None:
        stream = self.detach()
        connection = stream.socket.dup()
        stream.close()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        self.opened.append(connection)


async def main(port: int) -> None:
    routes = [("/sse/connect/.*", StreamHandler), (".*", Handler)]
    Application(routes, log_function=lambda _: None).listen(port, "127.0.0.1", backlog=4096)
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

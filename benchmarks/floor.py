"""The least that a request costs in Tornado: a handler that reads a body and answers a little JSON."""

import asyncio
import sys

from tornado.web import Application, RequestHandler


class Handler(RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.write(b"{}")

    post = get


async def main(port: int) -> None:
    Application([(".*", Handler)], log_function=lambda _: None).listen(port, "127.0.0.1")
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

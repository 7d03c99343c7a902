"""`tornado-sse` whose broker loses one message in a thousand on its way into the node: a fault for tests of tests."""

from collections.abc import Sequence
from itertools import count

from tornado_sse import cli, node
from tornado_sse.census import Census
from tornado_sse.inbound import Inbound
from tornado_sse.message import Message
from tornado_sse.registry import Registry

EVERY = 1000


class Leaky(Inbound):
    """Takes what comes from the broker, but for each thousandth message."""

    def __init__(self, registry: Registry, census: Census) -> None:
        super().__init__(registry, census)
        self._numbers = count(1)

    def deliver(self, messages: Sequence[Message]) -> None:
        super().deliver([message for message in messages if next(self._numbers) % EVERY])


if __name__ == "__main__":
    vars(node)["Inbound"] = Leaky
    cli.main()

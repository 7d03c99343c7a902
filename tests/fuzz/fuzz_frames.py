"""What holds of every message, whoever wrote it: on the wire it is one event, and says what it is."""

import re

from sse_parser import Parser
from tornado_sse.event import RESERVED_PREFIX, Encoding
from tornado_sse.message import Message
from tornado_sse.position import parse


def check_frame(message: Message, data: str | None = None) -> None:
    """Read a message as a browser does; `data` None: whatever it is."""
    blocks = list(Parser().feed(message.frame.encoded(Encoding.BARE)))
    assert len(blocks) == 1, "it is one event"
    (block,) = blocks
    assert block.data is not None
    assert not block.name.startswith(RESERVED_PREFIX), "such events are the server's"
    position = parse(block.id or "")
    assert position is not None
    assert position.sequence == message.sequence
    if data is not None:
        assert block.data == re.sub("\r\n|\r", "\n", data)

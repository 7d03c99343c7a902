"""What a worker does is shown on a real one, in test_member; here is what needs no process."""

import socket

import pytest
from structlog.testing import capture_logs

from server_support import SECRET
from tornado_sse.config import Settings
from tornado_sse.workers import words
from tornado_sse.workers.worker import Worker


@pytest.mark.filterwarnings("ignore:Exception ignored in")  # Tornado leaves a socket open that it could not bind
@pytest.mark.gen_test
async def test_a_port_of_others_is_named() -> None:
    ours, theirs = socket.socketpair()
    channel = await words.orders(theirs)
    with ours, socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as log:
        port = taken.getsockname()[1]
        assert Worker(Settings(jwt_secret=SECRET, port=port), channel).listen() is None
    channel.close()
    (line,) = log
    assert (line["problem"], line["setting"], line["port"]) == ("Address already in use", "port", port)

"""Which broker the settings choose, and what becomes of one that won't do."""

import sys

import pytest

from server_support import SECRET
from tornado_sse.app import EventServer
from tornado_sse.brokers.base import Broker
from tornado_sse.brokers.memory import MemoryBroker
from tornado_sse.brokers.nats.broker import NatsBroker
from tornado_sse.brokers.redis.broker import RedisBroker
from tornado_sse.config import ConfigProblem, Settings


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("", MemoryBroker),
        ("nats://a:1, tls://b", NatsBroker),
        ("redis://a/1", RedisBroker),
        ("rediss://a", RedisBroker),
        ("redis+sentinel://a,b:1/main/0", RedisBroker),
    ],
)
def test_the_url_says_which(url: str, kind: type[Broker]) -> None:
    assert type(EventServer(Settings(jwt_secret=SECRET, broker=url)).broker) is kind


@pytest.mark.parametrize("extra", ["nats", "redis"])
def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    monkeypatch.setitem(sys.modules, f"tornado_sse.brokers.{extra}.broker", None)
    with pytest.raises(ConfigProblem, match=rf"pip install '\.\[{extra}\]'"):
        EventServer(Settings(jwt_secret=SECRET, broker=f"{extra}://a"))

"""Where a URL says that the engine is, and how to be let in."""

import asyncio
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as ConnectionError_

from server_support import SECRET
from tornado_sse.app import EventServer
from tornado_sse.brokers.redis.login import engine
from tornado_sse.config import ConfigProblem, Settings


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", ("localhost", 6379)),
        ("redis://localhost:7000/3", ("localhost", 7000)),
        ("redis://localhost/", ("localhost", 6379)),
        ("rediss://[::1]:7000", ("::1", 7000)),
    ],
)
def test_addresses(url: str, address: tuple[str, int]) -> None:
    assert asyncio.run(engine(Settings(broker=url)).locate()) == address


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_sentinels_are_asked_and_an_unknown_master_is_not_found(scheme: str) -> None:
    async def scenario() -> None:
        one = engine(Settings(broker=f"{scheme}+sentinel://127.0.0.1:1,127.0.0.1/main/2", broker_password="p"))
        with pytest.raises(ConnectionError_):
            await one.locate()
        await one.close()

    asyncio.run(scenario())


def test_a_file_that_can_not_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblem, match="a file for the broker"):
        EventServer(Settings(jwt_secret=SECRET, broker="rediss://a", broker_ca=tmp_path / "none.pem"))

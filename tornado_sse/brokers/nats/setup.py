"""The stream itself: made where there is none, refused where it is set up otherwise."""

from http import HTTPStatus
from typing import Any

from tornado_sse.brokers.base import BrokerProblem
from tornado_sse.brokers.nats.layout import Layout, differences, epoch_of, new_epoch
from tornado_sse.brokers.nats.link import Link
from tornado_sse.brokers.nats.reader import Info, Reader
from tornado_sse.errors import Unavailable

NAME_IN_USE = 10058
"""The JetStream API's error for a stream that somebody else just made."""


async def ensure_stream(link: Link, reader: Reader, wanted: Layout) -> Info:
    """Find the stream, or make it. Raises BrokerProblem if it is set up otherwise, and Unavailable."""
    info = await reader.info()
    if info is None:
        await _call(link, f"CREATE.{wanted.name}", wanted.config(new_epoch()), but=NAME_IN_USE)
    elif epoch_of(info.config) is None:
        await renew_epoch(link, info, wanted)
    info = await reader.present()
    if differing := differences(wanted.config(""), info.config):
        raise BrokerProblem(f"the stream {wanted.name} is set up otherwise: {'; '.join(differing)}")
    return info


async def renew_epoch(link: Link, info: Info, wanted: Layout) -> None:
    """Give the stream another epoch. Raises Unavailable, BrokerProblem."""
    config = info.config | {"metadata": wanted.config(new_epoch())["metadata"]}
    await _call(link, f"UPDATE.{wanted.name}", config)


async def _call(link: Link, operation: str, config: dict[str, Any], but: int = 0) -> None:
    error = (await link.ask(f"$JS.API.STREAM.{operation}", config)).get("error")
    if error and error["err_code"] != but:
        problem = f"NATS: {error['description']}"
        raise Unavailable(problem) if error["code"] == HTTPStatus.SERVICE_UNAVAILABLE else BrokerProblem(problem)

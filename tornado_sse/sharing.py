"""Sharing: which streams get the very same messages, so that each has one write, and the bytes are made once.

That takes a while if streams are many, so it is done in steps: where None is yielded, one was made.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

from tornado_sse.hub import Labelled, Subscriber
from tornado_sse.message import Message
from tornado_sse.outbox import WRITE_SIZE
from tornado_sse.steps import in_steps

T = TypeVar("T", bound=Subscriber)

Audience = tuple[list[Message], Sequence[T]]
"""Messages that leave in one write, and the streams that get them."""

Plan = tuple[list[Message], Sequence[T], Iterable[Labelled[T] | None]]
"""A run of messages to the same topics, the streams that get them as they are, and those that are told their channels,
which are found in steps.
"""


def share(plans: Sequence[Plan[T]]) -> Iterator[Iterable[Audience[T]] | None]:
    """Gather the streams that get the very same runs of messages. The audiences come last."""
    audiences = yield from _labelled(plans)
    if len(plans) == 1 or (yield from _are_apart(audiences)):
        yield audiences
    else:
        runs = yield from _runs_of_each(audiences)
        yield from _gathered(runs)


def _labelled(plans: Sequence[Plan[T]]) -> Generator[None, None, list[Audience[T]]]:
    """Make an audience of all that are told the same channels."""
    audiences: list[Audience[T]] = []
    for run, streams, labels in plans:
        audiences.append((run, streams))
        for found in labels:
            if found is not None:
                channels, told = found
                audiences.append(([message.labelled(channels) for message in run], told))
            yield None
    return audiences


def _are_apart(audiences: Sequence[Audience[T]]) -> Generator[None, None, bool]:
    """Tell whether nobody is in two audiences."""
    everybody = set[T]()
    for step in in_steps(chain.from_iterable(streams for _, streams in audiences)):
        everybody.update(step)
        yield None
    return len(everybody) == sum(len(streams) for _, streams in audiences)


def _runs_of_each(audiences: Sequence[Audience[T]]) -> Generator[None, None, dict[T, list[list[Message]]]]:
    shares: dict[T, list[list[Message]]] = {}
    for run, streams in audiences:
        for step in in_steps(streams):
            for stream in step:
                share = shares.get(stream)
                if share is None:
                    shares[stream] = [run]
                else:
                    share.append(run)
            yield None
    return shares


def _gathered(shares: dict[T, list[list[Message]]]) -> Iterator[Iterable[Audience[T]] | None]:
    groups: dict[tuple[int, ...] | int, tuple[list[list[Message]], list[T]]] = {}
    for step in in_steps(shares.items()):
        for stream, runs in step:
            key = id(runs[0]) if len(runs) == 1 else tuple(map(id, runs))
            group = groups.get(key)
            if group is None:
                groups[key] = (runs, [stream])
            else:
                group[1].append(stream)
        yield None
    yield _grouped(groups.values())


def _grouped(groups: Iterable[tuple[list[list[Message]], list[T]]]) -> Iterator[Audience[T]]:
    for runs, streams in groups:
        for part in runs if len(runs) == 1 else _parts(chain.from_iterable(runs)):
            yield part, streams


def _parts(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Part messages into writes of about `WRITE_SIZE` bytes."""
    part: list[Message] = []
    size = 0
    for message in messages:
        if size >= WRITE_SIZE:
            yield part
            part, size = [], 0
        part.append(message)
        size += len(message.frame.chunk)
    yield part

"""Messages and batches: what a draft becomes, and bytes that are shared."""

import pytest

from support import Event, dechunk, make_message, read_events
from tornado_sse.event import Encoding
from tornado_sse.message import Batch, Draft, number
from tornado_sse.position import Position
from tornado_sse.topic import ALL


def test_a_message_is_encoded_with_its_position() -> None:
    message = number(Draft((ALL,), "x", "order", key="k"), Position("e", 7), 100.0)
    assert read_events(message.frame.body) == [Event("x", "order", "e-7")]
    assert (message.sequence, message.topics, message.key, message.accepted_at) == (7, (ALL,), "k", 100.0)


@pytest.mark.parametrize(("ttl", "expires_at"), [(None, None), (0.0, 100.0), (2.5, 102.5)])
def test_a_ttl_counts_from_the_acceptance(ttl: float | None, expires_at: float | None) -> None:
    assert number(Draft((ALL,), "x", ttl=ttl), Position("e", 1), 100.0).expires_at == expires_at


def test_a_batch_joins_its_messages_in_order() -> None:
    messages = [make_message(sequence) for sequence in (3, 4, 7)]
    batch = Batch(messages)
    body = b"".join(message.frame.body for message in messages)
    assert batch.payload(Encoding.BARE) == body
    assert b"".join(dechunk(batch.payload(Encoding.CHUNKED))) == body
    assert batch.payload(Encoding.GZIP) == b"".join(message.frame.encoded(Encoding.GZIP) for message in messages)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_payload_is_made_once(encoding: Encoding) -> None:
    batch = Batch([make_message(1), make_message(2)])
    assert batch.payload(encoding) is batch.payload(encoding)


def test_a_twin_says_through_which_channels_it_came_and_is_the_same_else() -> None:
    message = make_message(7, key="k")
    twin = message.labelled(["a", "b c"])
    assert twin.frame.body == b"channel: a\nchannel: b c\n" + message.frame.body
    assert read_events(message.frame.body) == [Event("m7", "message", "e-7")]
    assert (twin.sequence, twin.topics, twin.key) == (message.sequence, message.topics, "k")
    assert twin.frame.chunk is twin.frame.encoded(Encoding.CHUNKED)


def test_a_batch_of_one_shares_the_frame() -> None:
    message = make_message(1)
    assert Batch([message]).payload(Encoding.CHUNKED) == message.frame.chunk

"""What is written to Redis and read from it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_sse import event, topic
from tornado_sse.brokers.base import Disconnect, Published
from tornado_sse.brokers.redis import codec
from tornado_sse.brokers.redis.codec import Entry, Malformed
from tornado_sse.message import Draft, Message, number
from tornado_sse.position import Position
from tornado_sse.topic import ALL, Topic

names = st.text(min_size=1, max_size=20)
events = names.filter(lambda name: event.name_problem(name) is None)
topics = st.one_of(
    st.just(ALL), names.map(topic.user), names.map(topic.channel), st.builds(topic.session, names, names)
)


@given(topics)
def test_a_topic_is_read_as_it_was_named(one: Topic) -> None:
    assert codec.read_topic(codec.topic_name(one)) == one


@given(topics, topics)
def test_no_two_topics_have_one_name(one: Topic, other: Topic) -> None:
    assert (codec.topic_name(one) == codec.topic_name(other)) is (one == other)


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (ALL, "all"),
        (topic.user("all"), "user:all"),
        (topic.channel("a:b"), "channel:a:b"),
        (topic.session("a:%", "s:1"), "session:a%3A%25:s:1"),
    ],
)
def test_names_of_topics(one: Topic, name: str) -> None:
    assert codec.topic_name(one) == name


@pytest.mark.parametrize("name", ["", "user", "session:u", "everyone", "users:u", "commands"])
def test_what_names_no_topic_is_malformed(name: str) -> None:
    with pytest.raises(Malformed):
        codec.read_topic(name)


def test_arguments_of_drafts() -> None:
    drafts = [Draft((ALL,), "a"), Draft((topic.user("u"), ALL), "b", "e", "k", 0, "id")]
    assert list(codec.draft_arguments(drafts)) == [
        *("", 1, b'{"to":["all"],"data":"a"}', 1, "all"),
        *("id", 0, b'{"to":["user:u","all"],"data":"b","event":"e","key":"k","ttl":0}', 2, "user:u", "all"),
    ]


@given(st.text(), st.none() | events, st.none() | st.text(), st.none() | st.integers(0, 10**9))
def test_a_message_is_read_as_it_was_written(data: str, name: str | None, key: str | None, ttl: int | None) -> None:
    draft = Draft((ALL, topic.user("u")), data, name, key, ttl)
    _, _, body, *_ = codec.draft_arguments([draft])
    assert isinstance(body, bytes)
    entry = codec.read_entry(b"e 17 1000 3 " + body)
    assert entry == Entry("e", 17, 1000, 3, body)
    message = codec.open_entry(entry, "f", 5.0)
    assert isinstance(message, Message)
    assert (message.topics, message.key, message.sequence) == (draft.topics, key, 17)
    assert message.expires_at == (None if ttl is None else 5.0 + ttl)
    assert message.frame.body == number(draft, Position("f", 17), 0).frame.body


def test_a_command_is_read_as_it_was_written() -> None:
    command = Disconnect("u", "s")
    _, kept, body, *rest = codec.command_arguments(command)
    assert (kept, rest) == (1, [1, "commands"])
    assert isinstance(body, bytes)
    assert codec.open_entry(Entry("e", 1, 0, 0, body), "e", 0) == command


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"hello", b"e 1 2 3", b"e x 2 3 {}", b"\xff 1 2 3 {}", b"e 1.5 2 3 {}", b" 1 2 3 {}"),
        *(b"e -1 2 3 {}", b"e 1 -2 3 {}", b"e +1 2 3 {}", b"e 1_0 2 3 {}"),
        *(b"e %b 2 3 {}" % (b"1" * 20), b"e 1 %b 3 {}" % (b"1" * 400)),
    ],
)
def test_what_has_no_head_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        codec.read_entry(data)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"to":["user:u"]}',
        b'{"to":["nobody"],"data":"x"}',
        b'{"to":["all"],"data":1}',
        b'{"to":["commands"],"data":"x"}',
        b'{"to":["all"],"data":"\xff"}',
        b'{"to":["all"],"data":"x","event":""}',
        b'{"to":["all"],"data":"x","event":"a\\nid: e-9"}',
        b'{"to":["all"],"data":"x","event":"stream-closing"}',
        b'{"to":["all"],"data":"x","more":' + b"[" * 100_000,
        json.dumps({"to": ["commands"], "data": '{"more":' + "[" * 100_000}).encode(),
    ],
)
def test_a_body_that_is_none_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        codec.open_entry(Entry("e", 1, 0, 0, body), "e", 0)


def test_receipts() -> None:
    assert codec.read_receipts([b"e", 8, 7, b"d-3", 8]) == [
        Published(Position("e", 7), duplicate=False),
        Published(Position("d", 3), duplicate=True),
        Published(Position("e", 8), duplicate=False),
    ]


def entry(sequence: int, previous: int, at: int = 1000) -> bytes:
    return b"e %d %d %d {}" % (sequence, at, previous)


@pytest.mark.parametrize(
    ("after", "found", "sequences", "lost"),
    [
        (0, [], [], 0),
        (0, [[5, entry(2, 0), entry(5, 2)]], [2, 5], 0),
        (2, [[5, entry(5, 2)]], [5], 0),
        (1, [[5, entry(5, 2)]], [5], 2),
        (0, [[5]], [], 5),
        (0, [[5, entry(2, 0), entry(5, 2)], [5, entry(3, 0), entry(5, 3)]], [2, 3, 5], 0),
        (0, [[5, entry(2, 0, 499), entry(5, 2)], [9]], [5], 9),
        (0, [[5, entry(2, 0, 499), entry(5, 2, 500)]], [], 5),
        (0, [[5, entry(2, 0, 500), entry(5, 2, 501)]], [5], 2),
    ],
)
def test_a_replay_is_merged_and_knows_what_is_gone(
    after: int, found: list[list[bytes | int]], sequences: list[int], lost: int
) -> None:
    replayed = codec.read_replay([b"e", 9, 1500, *found], after, max_age=1000)
    assert (replayed.epoch, replayed.sequence, replayed.lost) == ("e", 9, lost)
    assert [one.sequence for one in replayed.entries] == sequences

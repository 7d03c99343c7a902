import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_sse import topic
from tornado_sse.brokers.base import Disconnect
from tornado_sse.brokers.nats import codec
from tornado_sse.brokers.nats.codec import Malformed, Parcel
from tornado_sse.message import Draft
from tornado_sse.publishing import Limits
from tornado_sse.topic import ALL, Topic

LIMITS = Limits(1000, 1)

text = st.text(st.characters(blacklist_categories=["Cs"]))
names = text.filter(lambda name: topic.channel_problem(name) is None)
topics = st.one_of(
    st.just(ALL),
    st.builds(topic.user, names),
    st.builds(topic.session, names, names),
    st.builds(topic.channel, names),
)
drafts = st.builds(
    Draft,
    st.lists(topics, min_size=1, max_size=4, unique=True).map(tuple),
    text.filter(lambda data: len(data.encode()) + 6 * (data.count("\n") + data.count("\r")) <= 1000),
    st.none() | st.text("aß %.\t'", min_size=1),
    st.none() | text.filter(lambda key: 0 < len(key) <= 256),
    st.none() | st.floats(0, 1000),
    st.none(),
)


@given(drafts)
def test_what_is_encoded_is_read_again(draft: Draft) -> None:
    assert codec.decode(codec.encode(draft, idempotent=True), LIMITS) == draft


@given(topics)
def test_subjects_are_fit_for_nats(one: Topic) -> None:
    subject = codec.subject_of(one)
    assert re.fullmatch(r"[a-z]+(\.[A-Za-z0-9_%~-]+)*", subject)
    assert len(subject) < 2000


@given(st.lists(topics, min_size=2, max_size=2, unique=True))
def test_no_two_topics_share_a_subject(two: list[Topic]) -> None:
    assert codec.subject_of(two[0]) != codec.subject_of(two[1])


@given(topics)
def test_a_subject_comes_by_the_interest_in_its_topic(one: Topic) -> None:
    subject, interest = codec.subject_of(one), codec.interest_of(one)
    assert codec.interest_in(subject) == interest
    assert subject == interest or subject.startswith(interest.removesuffix(">"))


@pytest.mark.parametrize(
    ("one", "subject"),
    [
        (ALL, "all"),
        (topic.user("u-1"), "user.u-1.all"),
        (topic.user("a.b*c> d~"), "user.a%2Eb%2Ac%3E%20d%7E.all"),
        (topic.session("u", "é"), "user.u.session.%C3%A9"),
        (topic.channel("news/eu"), "channel.news%2Feu"),
    ],
)
def test_names_in_subjects(one: Topic, subject: str) -> None:
    assert codec.subject_of(one) == subject


def test_a_name_too_long_for_a_subject_is_hashed_and_told_by_a_header() -> None:
    draft = Draft((topic.session("😀" * 256, "s" * 1024),), "x")
    parcel = codec.encode(draft, idempotent=False)
    assert re.fullmatch(r"user\.~[0-9a-f]{64}\.session\.~[0-9a-f]{64}", parcel.subject)
    assert codec.decode(parcel, LIMITS) == draft


def test_a_key_goes_with_the_message_only_if_the_engine_is_to_look_at_it() -> None:
    draft = Draft((ALL,), "x", idempotency_key="order 7")
    assert codec.encode(draft, idempotent=True).headers == {"Nats-Msg-Id": "order%207"}
    assert codec.encode(draft, idempotent=False).headers == {}


def test_what_a_backend_publishes_by_the_documented_rules() -> None:
    parcel = Parcel("user.u1.all", {"Sse-Event": "order paid", "Sse-Ttl": "60", "Nats-Sequence": "7"}, b'{"id": 7}')
    assert codec.decode(parcel, LIMITS) == Draft((topic.user("u1"),), '{"id": 7}', "order paid", None, 60.0)
    many = Parcel("many", {"Sse-To": '[{"user": "u"}, {"channel": "c"}]'}, b"x")
    assert codec.decode(many, LIMITS).topics == (topic.user("u"), topic.channel("c"))


@pytest.mark.parametrize(
    "parcel",
    [
        Parcel("all", {}, b"\xff"),
        Parcel("all", {}, b"x" * 1001),
        Parcel("all", {}, b"\n" * 200),
        Parcel("every", {}, b""),
        Parcel("user.u", {}, b""),
        Parcel("user.u.session", {}, b""),
        Parcel("user..all", {}, b""),
        Parcel("channel.a.b", {}, b""),
        Parcel("channel.%2A", {}, b""),
        Parcel("channel.%FF", {}, b""),
        Parcel("many", {}, b""),
        Parcel("many", {"Sse-To": "[]"}, b""),
        Parcel("many", {"Sse-To": "[" * 100_000}, b""),
        Parcel("many", {"Sse-To": '{"user": 1}'}, b""),
        Parcel("user.u.all", {"Sse-To": '{"user": "v"}'}, b""),
        Parcel("all", {"Sse-Event": "stream-gap"}, b""),
        Parcel("all", {"Sse-Event": "a%0Ab"}, b""),
        Parcel("all", {"Sse-Event": "%FF"}, b""),
        Parcel("all", {"Sse-Key": ""}, b""),
        Parcel("all", {"Sse-Ttl": "soon"}, b""),
        Parcel("all", {"Sse-Ttl": "-1"}, b""),
        Parcel("all", {"Sse-Ttl": "nan"}, b""),
    ],
)
def test_a_malformed_message_is_told_from_a_good_one(parcel: Parcel) -> None:
    with pytest.raises(Malformed):
        codec.decode(parcel, LIMITS)


def test_a_command_is_read_again() -> None:
    command = Disconnect("u", "s")
    assert codec.decode_command(codec.encode_command(command).payload) == command


@pytest.mark.parametrize("payload", [b"{}", b"\xff", b'{"more":' + b"[" * 100_000])
def test_a_malformed_command_is_told_from_a_good_one(payload: bytes) -> None:
    with pytest.raises(Malformed):
        codec.decode_command(payload)

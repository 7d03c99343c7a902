"""The hub: who listens to what, whoever comes and goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import FakeStream
from tornado_sse import topic
from tornado_sse.hub import Hub, Index, labels_for, topics_of
from tornado_sse.topic import ALL, Topic


def test_an_index_keeps_the_streams_of_a_key_in_the_order_of_their_coming() -> None:
    index: Index[str, FakeStream] = Index()
    one, two, three = FakeStream(), FakeStream(), FakeStream()
    assert list(index.get("k")) == []
    for stream in (one, two, three):
        index.add("k", stream)
    assert list(index.get("k")) == [one, two, three]
    index.remove("k", one)
    assert list(index.get("k")) == [two, three]
    index.add("k", one)
    assert list(index.get("k")) == [two, three, one]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_index_forgets_a_key_with_its_last_stream(count: int) -> None:
    index: Index[str, FakeStream] = Index()
    streams = [FakeStream() for _ in range(count)]
    for stream in streams:
        index.add("k", stream)
    assert len(index) == 1
    for stream in streams:
        index.remove("k", stream)
    assert len(index) == 0
    assert list(index.get("k")) == []


def test_removing_what_was_never_added_is_an_error() -> None:
    index: Index[str, FakeStream] = Index()
    with pytest.raises(KeyError):
        index.remove("k", FakeStream())


@pytest.fixture
def hub() -> Hub[FakeStream]:
    return Hub()


def test_topics_reach_their_streams(hub: Hub[FakeStream]) -> None:
    laptop = FakeStream("u", "1", ("news", "sport"))
    phone = FakeStream("u", "2", ("news",))
    other = FakeStream("v", "1")
    for stream in (laptop, phone, other):
        hub.add(stream)
    assert list(hub.matching([ALL])) == [laptop, phone, other]
    assert list(hub.matching([topic.user("u")])) == [laptop, phone]
    assert list(hub.matching([topic.session("u", "1")])) == [laptop]
    assert list(hub.matching([topic.session("v", "1")])) == [other]
    assert list(hub.matching([topic.session("v", "2")])) == []
    assert list(hub.matching([topic.channel("news")])) == [laptop, phone]
    assert list(hub.matching([topic.channel("u")])) == []
    assert list(hub.session("u", "2")) == [phone]


def test_a_stream_that_listens_to_several_topics_counts_once(hub: Hub[FakeStream]) -> None:
    one, two = FakeStream("u", "1", ("c",)), FakeStream("v")
    hub.add(one)
    hub.add(two)
    assert list(hub.matching([topic.channel("c"), topic.user("u"), ALL])) == [one, two]
    assert len(hub.matching([topic.user("v"), topic.session("u", "1")])) == 2


def test_a_stream_that_left_is_nowhere(hub: Hub[FakeStream]) -> None:
    stream, stays = FakeStream("u", "1", ("a", "b")), FakeStream("u", "1", ("b",))
    hub.add(stream)
    hub.add(stays)
    hub.remove(stream)
    for one in topics_of("u", "1", ("a", "b")):
        assert stream not in hub.matching([one])
    hub.remove(stays)
    assert (len(hub.streams), len(hub.users), len(hub.sessions), len(hub.channels)) == (0, 0, 0, 0)


def test_the_topics_of_a_stream() -> None:
    assert list(topics_of("u", "s", ["a", "b"])) == [
        ALL,
        topic.user("u"),
        topic.session("u", "s"),
        topic.channel("a"),
        topic.channel("b"),
    ]


def labels(hub: Hub[FakeStream], *topics: Topic) -> dict[tuple[str, ...], list[FakeStream]]:
    return {channels: list(streams) for channels, streams in filter(None, hub.labels(topics))}


def test_streams_to_be_labelled_are_told_the_channels_that_brought_it_to_them(hub: Hub[FakeStream]) -> None:
    plain = FakeStream("u", "1", ("a", "b"))
    both = FakeStream("u", "2", ("a", "b"), labelled=True)
    one = FakeStream("v", "1", ("b", "c"), labelled=True)
    for stream in (plain, both, one):
        hub.add(stream)
    a, b = topic.channel("a"), topic.channel("b")
    assert (list(hub.matching([a])), labels(hub, a)) == ([plain], {("a",): [both]})
    assert (list(hub.matching([a, b])), labels(hub, a, b)) == ([plain], {("a", "b"): [both], ("b",): [one]})
    assert (list(hub.matching([topic.user("v")])), labels(hub, topic.user("v"))) == ([one], {})
    assert (list(hub.matching([b, topic.user("u")])), labels(hub, b, topic.user("u"))) == (
        [plain, both],
        {("b",): [one]},
    )
    assert labels(hub, b, ALL) == labels(hub, topic.channel("d")) == {}
    for stream in (plain, both, one):
        hub.remove(stream)
    assert (len(hub.labelled), hub.labelling) == (0, 0)


NAMES = st.sampled_from(["x", "y"])
STREAMS = st.tuples(NAMES, NAMES, st.lists(NAMES, unique=True).map(tuple), st.booleans())
EVERY_TOPIC = [ALL] + [
    one for n in "xy" for one in (topic.user(n), topic.channel(n), topic.session(n, "x"), topic.session(n, "y"))
]


@given(st.lists(st.tuples(STREAMS, st.integers(0, 9))), st.lists(st.sampled_from(EVERY_TOPIC), min_size=1))
def test_it_matches_as_a_look_at_every_stream_would(
    comings: list[tuple[tuple[str, str, tuple[str, ...], bool], int]], topics: list[Topic]
) -> None:
    topics = list(dict.fromkeys(topics))
    hub: Hub[FakeStream] = Hub()
    there: list[FakeStream] = []
    for (user, session, channels, labelled), leaver in comings:
        there.append(FakeStream(user, session, channels, labelled=labelled))
        hub.add(there[-1])
        if leaver < len(there):
            hub.remove(there.pop(leaver))
    expected = {s for s in there if not set(topics_of(s.user, s.session, s.channels)).isdisjoint(topics)}
    matching = hub.matching(topics)
    assert len(matching) == len(list(matching))
    told = {stream: channels for channels, streams in labels(hub, *topics).items() for stream in streams}
    assert set(matching) | told.keys() == expected
    assert set(matching).isdisjoint(told)
    assert hub.reach(topics) == len(expected)
    assert all(told.get(stream, ()) == (labels_for(topics, stream) if stream.labelled else ()) for stream in there)

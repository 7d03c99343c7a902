import pytest

from tornado_sse.brokers.nats.layout import Layout, differences, epoch_of, new_epoch
from tornado_sse.position import parse

LAYOUT = Layout("sse", size=1000, ttl=300, max_bytes=10**8, window=120)


def test_the_settings_decide_what_is_kept() -> None:
    config = LAYOUT.config("e")
    assert config["max_msgs_per_subject"] == 1000
    assert config["max_age"] == 300 * 10**9
    assert config["duplicate_window"] == 120 * 10**9
    assert config["max_bytes"] == 10**8
    assert config["republish"] == {"src": "sse.m.>", "dest": "sse.live.>"}


def test_messages_are_kept_as_long_as_their_keys() -> None:
    config = Layout("sse", size=0, ttl=10, max_bytes=0, window=120).config("e")
    assert config["max_age"] == config["duplicate_window"] == 120 * 10**9
    assert (config["max_msgs_per_subject"], config["max_bytes"]) == (1, 1 << 20)


def test_without_a_window_there_is_still_one_that_jetstream_takes() -> None:
    config = Layout("sse", size=1, ttl=10, max_bytes=0, window=0).config("e")
    assert config["max_age"] == config["duplicate_window"] == 10 * 10**9


def test_epochs_are_fit_for_positions_and_differ() -> None:
    epochs = {new_epoch() for _ in range(20)}
    assert len(epochs) == 20
    assert all(parse(f"{epoch}-1") for epoch in epochs)
    assert epoch_of(LAYOUT.config("abc")) == "abc"
    assert epoch_of({}) is epoch_of({"metadata": None}) is None


def test_a_stream_that_will_do() -> None:
    found = LAYOUT.config("another") | {"max_consumers": -1}
    found["republish"] = {**found["republish"], "headers_only": False}
    assert differences(LAYOUT.config(""), found) == []


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("max_age", 60 * 10**9, "max_age is 60 s, the settings want 300 s"),
        ("num_replicas", 3, "num_replicas is 3, the settings want 1"),
        ("republish", None, "republish is {'src': None, 'dest': None}, the settings want {'src': 'sse.m.>',"),
        ("subjects", ["orders"], "subjects is ['orders'], the settings want ['sse.m.>']"),
    ],
)
def test_a_difference_is_named(name: str, value: object, text: str) -> None:
    (difference,) = differences(LAYOUT.config(""), LAYOUT.config("") | {name: value})
    assert difference.startswith(text)

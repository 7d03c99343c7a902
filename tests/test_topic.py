"""Topics: how targets are read, which names are good, and what a token's patterns cover."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_sse import topic
from tornado_sse.topic import ALL, MAX_NAME, MAX_SESSION, Topic, allows, channel_problem, from_target, name_problem

CONTROLS = ["\0", "\n", "\r", "\x1f", "\x7f", "\x80", "\x9f", "\ud800", "\udfff"]


@pytest.mark.parametrize(
    ("target", "topics"),
    [
        ("all", [ALL]),
        ({"user": "u"}, [topic.user("u")]),
        ({"user": "u", "session": "s"}, [topic.session("u", "s")]),
        ({"session": "s", "user": "u"}, [topic.session("u", "s")]),
        ({"channel": "c"}, [topic.channel("c")]),
        ({"user": "名 前"}, [topic.user("名 前")]),
        ({"user": "*"}, [topic.user("*")]),
        ({"user": "u", "session": "s" * MAX_SESSION}, [topic.session("u", "s" * MAX_SESSION)]),
        (["all", {"user": "u"}], [ALL, topic.user("u")]),
        ([{"user": "u"}, "all", {"user": "u"}], [topic.user("u"), ALL]),
        (({"channel": "c"},), [topic.channel("c")]),
        (topic.user("u"), [topic.user("u")]),
        ([topic.user("u"), ALL], [topic.user("u"), ALL]),
    ],
)
def test_a_target_names_topics(target: object, topics: list[Topic]) -> None:
    assert from_target(target) == tuple(topics)


SHAPE = "`to` must be "


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([], "`to` must name 1 to 100 targets"),
        ((), "`to` must name 1 to 100 targets"),
        (None, SHAPE),
        (True, SHAPE),
        (5, SHAPE),
        ("", SHAPE),
        ("ALL", SHAPE),
        ("everyone", SHAPE),
        ({}, SHAPE),
        (["all", None], SHAPE),
        ([["all"]], SHAPE),
        ({"session": "s"}, SHAPE),
        ({"user": "u", "channel": "c"}, SHAPE),
        ({"user": "u", "session": "s", "channel": "c"}, SHAPE),
        ({"user": "u", "other": 5}, SHAPE),
        ({"x" * 10_000: "u"}, SHAPE),
        ({5: "u"}, SHAPE),
        ({"user": 5}, "`to.user` must be a string"),
        ({"user": None}, "`to.user` must be a string"),
        ({"user": ["u"]}, "`to.user` must be a string"),
        ({"channel": True}, "`to.channel` must be a string"),
        ({"user": ""}, "`to.user` must not be empty"),
        ({"user": "u", "session": ""}, "`to.session` must not be empty"),
        ({"user": "u" * (MAX_NAME + 1)}, "`to.user` must be at most 256 characters long"),
        ({"user": "u", "session": "s" * (MAX_SESSION + 1)}, "`to.session` must be at most 1024 characters long"),
        ({"channel": "c" * (MAX_NAME + 1)}, "`to.channel` must be at most 256 characters long"),
        ({"channel": "c\n"}, "`to.channel` must not contain control characters"),
        ({"channel": "*"}, "`to.channel` must not contain *"),
        ({"channel": "orders.*"}, "`to.channel` must not contain *"),
    ],
)
def test_a_bad_target_is_named(target: object, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("*", r"\*")) as raised:
        from_target(target)
    assert len(str(raised.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["all", "user", "channel"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["user", "session", "channel"]) | st.text(), inner),
)


@given(JSON)
def test_no_target_raises_another_kind_of_error(target: Any) -> None:
    with suppress(ValueError):
        assert from_target(target)


@pytest.mark.parametrize("problem", [name_problem, channel_problem])
@pytest.mark.parametrize("control", CONTROLS)
def test_names_have_no_control_characters(problem: Callable[[str], str | None], control: str) -> None:
    assert problem(f"a{control}b") == "must not contain control characters"


@pytest.mark.parametrize("problem", [name_problem, channel_problem])
def test_names_have_a_length(problem: Callable[[str], str | None]) -> None:
    assert problem("") == "must not be empty"
    assert problem("n" * MAX_NAME) is None
    assert problem("n" * (MAX_NAME + 1)) == "must be at most 256 characters long"


def test_a_limit_of_ones_own() -> None:
    assert name_problem("nnn", 2) == "must be at most 2 characters long"


@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [
        ([], "a", False),
        (["a"], "a", True),
        (["a"], "ab", False),
        (["b", "a"], "a", True),
        (["*"], "anything at\nall", True),
        (["*"], "", True),
        (["***"], "a", True),
        (["a.*"], "a.", True),
        (["a.*"], "a.b.c", True),
        (["a.*"], "a", False),
        (["a.*"], "axb", False),
        (["*.a"], "b.a", True),
        (["*.a"], "b.ab", False),
        (["a*c"], "abc", True),
        (["a*c"], "ac", True),
        (["a*c"], "abcd", False),
        (["a*a"], "a", False),
        (["ab*bc"], "abc", False),
        (["*b*"], "abc", True),
        (["*b*"], "ac", False),
        (["*ab*ab"], "aabxab", True),
        (["*ab*ab"], "aab", False),
        (["a*b**c*d"], "a1b2c3d", True),
        (["[ab]*"], "ax", False),
        (["(?i)a*"], "a", False),
        (["a?*"], "ab", False),
        (["user.*", "news"], "news", True),
    ],
)
def test_patterns_cover_channels(patterns: list[str], name: str, allowed: bool) -> None:
    assert allows(patterns, name) is allowed


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_patterns_cover_what_plain_backtracking_says(pattern: str, name: str) -> None:
    def matches(pattern: str, name: str) -> bool:
        if not pattern:
            return not name
        if pattern[0] == "*":
            return matches(pattern[1:], name) or (name != "" and matches(pattern, name[1:]))
        return name != "" and pattern[0] == name[0] and matches(pattern[1:], name[1:])

    assert allows([pattern], name) is matches(pattern, name)


def test_no_pattern_spends_our_time() -> None:
    # Catastrophic backtracking: a pattern out of a token, against a name that its bearer picks.
    begin = time.process_time()
    assert not allows(["a*" * 60 + "b"], "a" * MAX_NAME)
    assert time.process_time() - begin < 0.5


def test_users_and_sessions_of_the_same_name_are_different_topics() -> None:
    topics = {ALL, topic.user("n"), topic.channel("n"), topic.session("n", "n"), topic.session("n", "m")}
    assert len(topics) == 5

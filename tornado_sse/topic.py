"""Topics: where a message goes, and which channels a token allows."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

import msgspec

MAX_NAME = 256
"""Longest user id or channel name, in characters."""

MAX_TARGETS = 100
"""Most targets of one message."""

MAX_SESSION = 1024
"""Longest session id, in characters: a minted one is a signed token."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


_USER, _SESSION, _CHANNEL = {"user"}, {"user", "session"}, {"channel"}


class Topic(msgspec.Struct, frozen=True, gc=False):
    """A user (`name`), one session of a user (`name`, `session`), a channel (`name`), or all. Cheap to hash."""

    kind: Literal["user", "session", "channel", "all"]
    name: str = ""
    session: str = ""


ALL = Topic("all")


def user(name: str) -> Topic:
    """Every stream of the user."""
    return Topic("user", name)


def session(user_name: str, session_id: str) -> Topic:
    """Every stream of one session of the user."""
    return Topic("session", user_name, session_id)


def channel(name: str) -> Topic:
    """Every stream that asked for the channel."""
    return Topic("channel", name)


def name_problem(name: str, limit: int = MAX_NAME) -> str | None:
    """What is wrong with a user id, session id or channel name, or None."""
    if not name:
        return "must not be empty"
    if len(name) > limit:
        return f"must be at most {limit} characters long"
    if not name.isprintable() and _CONTROL.search(name):  # the first is quicker, and asks for more
        return "must not contain control characters"
    return None


def channel_problem(name: str) -> str | None:
    """Say what is wrong with a channel's name, or None. A star belongs into a token's patterns only."""
    return "must not contain *: patterns belong into the token" if "*" in name else name_problem(name)


def from_target(target: object) -> tuple[Topic, ...]:
    """Read `to`: `"all"`, `{"user": U}`, `{"user": U, "session": S}`, `{"channel": C}`, or a list of these.

    Repeated targets count once. Raises ValueError with a message fit for the publisher.
    """
    if isinstance(target, (list, tuple)):
        if not 0 < len(target) <= MAX_TARGETS:
            raise ValueError(f"`to` must name 1 to {MAX_TARGETS} targets")
        return tuple(dict.fromkeys(_single(item) for item in target))
    return (_single(target),)


def _single(target: object) -> Topic:
    if target == "all":
        return ALL
    if isinstance(target, Topic):
        return target
    if isinstance(target, (dict, Mapping)):  # a dict is told at once, any other mapping is looked up
        names = target.keys()
        if names == _USER:
            return user(_name(target, "user"))
        if names == _SESSION:
            return session(_name(target, "user"), _name(target, "session"))
        if names == _CHANNEL:
            return channel(_name(target, "channel"))
    raise ValueError('`to` must be "all", {"user": U}, {"user": U, "session": S}, {"channel": C}, or a list of these')


def _name(target: Mapping[str, object], key: str) -> str:
    value = target[key]
    if not isinstance(value, str):
        raise ValueError(f"`to.{key}` must be a string")  # noqa: TRY004 - one kind of error for a bad target
    if key == "channel":
        problem = channel_problem(value)
    else:
        problem = name_problem(value, MAX_SESSION if key == "session" else MAX_NAME)
    if problem:
        raise ValueError(f"`to.{key}` {problem}")
    return value


def allows(patterns: Iterable[str], name: str) -> bool:
    """Whether a channel is covered by a token's names and patterns; `*` stands for any characters, none included."""
    return any(name == pattern or ("*" in pattern and _compiled(pattern).fullmatch(name)) for pattern in patterns)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # The first place where a part fits is as good as any later one, so the groups are atomic: none is tried again, and
    # no pattern, however many stars it has, can spend our time.
    first, *middle, last = map(re.escape, re.split(r"\*+", pattern))
    return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last, re.DOTALL)

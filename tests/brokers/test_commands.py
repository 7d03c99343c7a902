"""Commands on the wire."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_sse.brokers import commands
from tornado_sse.brokers.base import Command, Disconnect, Refresh

texts = st.text()
times = st.floats(allow_nan=False, allow_infinity=False)
EVERY_COMMAND = st.builds(Disconnect, texts, texts, st.booleans()) | st.builds(
    Refresh, texts, texts, st.lists(texts).map(tuple), times
)


@given(EVERY_COMMAND)
def test_a_command_is_read_as_it_was_written(command: Command) -> None:
    assert commands.decode(commands.encode(command)) == command


def test_a_disconnect_has_its_fields_in_the_open() -> None:
    assert json.loads(commands.encode(Disconnect("u", "s"))) == {"user": "u", "session": "s"}
    assert commands.decode('{"user": "u", "revoked": true, "more": 1}') == Disconnect("u", revoked=True)


def test_who_knows_no_refresh_finds_no_user_to_disconnect() -> None:
    assert "user" not in json.loads(commands.encode(Refresh("u", "s", (), 1)))


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", '{"session": "s"}', '{"user": 1}', '{"user": "u", "revoked": 1}'),
        *('{"refresh": {}}', '{"refresh": {"user": "u", "session": "s", "channels": []}}'),
        *('{"refresh": {"user": "u", "session": "s", "channels": "ab", "expires_at": 1}}', '{"refresh": "s"}'),
        '{"refresh": {"user": "u", "session": "s", "channels": [], "expires_at": 1e999}}',
        r'{"user": "\ud800"}',
    ],
)
def test_what_is_no_command_is_told_from_one(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's errors have no text of ours
        commands.decode(text)


def test_what_is_nested_beyond_measure_is_refused() -> None:
    with pytest.raises((ValueError, RecursionError)):
        commands.decode('{"more":' + "[" * 100_000)

"""Positions, as they are written and as clients send them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_sse.position import Position, parse


@given(st.from_regex(r"[0-9a-z]{1,32}", fullmatch=True), st.integers(0, 10**19 - 1))
def test_what_is_written_is_read_back(epoch: str, sequence: int) -> None:
    position = Position(epoch, sequence)
    assert parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "a",
        "a-",
        "-1",
        "a-01",
        "a-1 ",
        " a-1",
        "a-1\n",
        "a--1",
        "a-+1",
        "a-1-1",
        "a-1_0",
        "a-0x1",
        "a-1e3",
        "a-१",  # a digit, but not ours
        "A-1",
        "é-1",
        "a" * 33 + "-1",
        "a-" + "1" * 20,
        "9" * 100_000,
        "\0",
        "\ud800",
    ],
)
def test_what_is_none_of_ours_is_no_position(text: str) -> None:
    assert parse(text) is None


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    position = parse(text)
    assert position is None or str(position) == text

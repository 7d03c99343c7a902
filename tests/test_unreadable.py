"""JSON that can't be read is explained, shortly, whatever the library calls it."""

import msgspec
import pytest

from tornado_sse.unreadable import MAX_REASON, UNREADABLE, explain


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b'"\xff"', "the JSON is not valid UTF-8"),
        (b'{"\xff": 1}', "the JSON is not valid UTF-8"),
        (b"[" * 100_000, "the JSON is nested too deeply"),
        (b'["a', "the JSON ends too early, or in half a surrogate pair"),
        (b'"\\ud800"', "the JSON ends too early, or in half a surrogate pair"),
        (b"nonsense", "JSON is malformed: "),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_the_reason(sent: bytes, reason: str) -> None:
    with pytest.raises(UNREADABLE) as raised:
        msgspec.json.decode(sent)
    assert explain(raised.value).startswith(reason)


def test_bytes_that_are_no_text_are_explained_alike() -> None:
    with pytest.raises(UNREADABLE) as raised:
        b"\xff".decode()
    assert explain(raised.value) == "the JSON is not valid UTF-8"


def test_a_reason_that_quotes_much_is_cut() -> None:
    assert len(explain(ValueError("x" * 1000))) == MAX_REASON

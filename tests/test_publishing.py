"""Publishing: what publishers send, good and bad. Whatever it is, it is a draft or an error fit for them."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import read_events
from tornado_sse import topic
from tornado_sse.event import encode
from tornado_sse.message import Draft
from tornado_sse.publishing import (
    MAX_TTL,
    BadBody,
    BadItem,
    Item,
    Limits,
    PublishResult,
    make_draft,
    read_items,
    split_json,
    split_lines,
)
from tornado_sse.topic import ALL
from tornado_sse.unreadable import MAX_REASON

LIMITS = Limits(message_bytes=1000, items=3)


def read_one(body: bytes, limits: Limits = LIMITS) -> Draft | BadItem:
    (result,) = read_items([body], limits)
    return result


def draft_of(body: bytes) -> Draft:
    result = read_one(body)
    assert isinstance(result, Draft), result
    return result


def with_data(data: bytes) -> bytes:
    return b'{"to":"all","data":' + data + b"}"


# Good items


@pytest.mark.parametrize(
    ("body", "draft"),
    [
        (b'{"to":"all","data":"x"}', Draft((ALL,), "x")),
        (b' {"data" : "x" ,\r\n\t"to" : "all"} ', Draft((ALL,), "x")),
        (b'{"to":{"user":"u"},"data":"x"}', Draft((topic.user("u"),), "x")),
        (b'{"to":[{"channel":"c"},"all"],"data":"x"}', Draft((topic.channel("c"), ALL), "x")),
        (b'{"to":"all","data":"x","event":"order"}', Draft((ALL,), "x", event="order")),
        (b'{"to":"all","data":"x","key":"k"}', Draft((ALL,), "x", key="k")),
        (b'{"to":"all","data":"x","idempotencyKey":"i"}', Draft((ALL,), "x", idempotency_key="i")),
        (b'{"to":"all","data":"x","ttl":0}', Draft((ALL,), "x", ttl=0)),
        (b'{"to":"all","data":"x","ttl":1.5}', Draft((ALL,), "x", ttl=1.5)),
        (b'{"to":"all","data":"x","ttl":%d}' % MAX_TTL, Draft((ALL,), "x", ttl=MAX_TTL)),
        (b'{"to":"all","data":"x","ttl":null,"event":null,"key":null,"idempotencyKey":null}', Draft((ALL,), "x")),
    ],
)
def test_good_items(body: bytes, draft: Draft) -> None:
    assert read_one(body) == draft


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'""', ""),
        (b'"\\u0000\\n\\r\\u2028"', "\0\n\r\u2028"),
        (b'"\\ud83d\\ude00"', "😀"),
        ('"😀 é"'.encode(), "😀 é"),
        (b'"null"', "null"),
        (b"null", "null"),
        (b"true", "true"),
        (b"-1.5E+10", "-1.5E+10"),
        (b"1e999", "1e999"),
        (b"9" * 900, "9" * 900),
        (b"{}", "{}"),
        (b'{ "b":1,\n"a":[2, "x"] }', '{ "b":1,\n"a":[2, "x"] }'),
        (b'{"a":1.0000000000000000001}', '{"a":1.0000000000000000001}'),
        (b"  [1]  ", "[1]"),
        ('{"é":"\\u00e9"}'.encode(), '{"é":"\\u00e9"}'),
    ],
)
def test_a_string_goes_as_it_is_and_other_json_untouched(data: bytes, text: str) -> None:
    assert draft_of(with_data(data)).data == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.booleans(), st.sampled_from([None, 2]))
def test_any_json_arrives_at_the_client(value: Any, ascii_only: bool, indent: int | None) -> None:
    body = with_data(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode())
    (event,) = read_events(encode(draft_of(body).data))
    assert (event.data if isinstance(value, str) else json.loads(event.data)) == (
        value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value
    )


# Bad items

DEEP = 100_000
BAD_UTF8 = "the JSON is not valid UTF-8"
TOO_DEEP = "the JSON is nested too deeply"
MALFORMED = "JSON is malformed: "
TRUNCATED = "the JSON ends too early"
BAD_EVENT = "`event` must not contain CR, LF, NUL or lone surrogates"
RESERVED = "`event` must not begin with stream-"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        # no JSON object
        (b"", TRUNCATED),
        (b"   ", TRUNCATED),
        (b"{", TRUNCATED),
        (b'{"to":"all","data":"x', TRUNCATED),
        (b"junk", MALFORMED),
        (b"\xef\xbb\xbf" + with_data(b"1"), MALFORMED),
        (with_data(b"1").decode().encode("utf-16"), MALFORMED),
        (with_data(b"1") + b" x", MALFORMED),
        (with_data(b"1,"), MALFORMED),
        (b"{'to':'all'}", MALFORMED),
        (b"null", "Expected `object`, got `null`"),
        (b"5", "Expected `object`, got `int`"),
        (b'"all"', "Expected `object`, got `str`"),
        (b'["all",1]', "Expected `object`, got `array`"),
        # fields
        (b"{}", "Object missing required field `to`"),
        (b'{"data":1}', "Object missing required field `to`"),
        (b'{"to":"all"}', "Object missing required field `data`"),
        (b'{"to":"all","data":1,"id":"e-1"}', "Object contains unknown field `id`"),
        (b'{"to":"all","data":1,"idempotency_key":"k"}', "Object contains unknown field `idempotency_key`"),
        (b'{"to":"all","data":1,"' + b"f" * 10_000 + b'":1}', "Object contains unknown field `fff"),
        (b'{"to":"all","data":1,"event":5}', "Expected `str | null`, got `int` - at `$.event`"),
        (b'{"to":"all","data":1,"key":""}', "Expected `str` of length >= 1 - at `$.key`"),
        (b'{"to":"all","data":1,"key":"' + b"k" * 257 + b'"}', "Expected `str` of length <= 256 - at `$.key`"),
        (b'{"to":"all","data":1,"key":["k"]}', "Expected `str | null`, got `array` - at `$.key`"),
        (b'{"to":"all","data":1,"idempotencyKey":""}', "Expected `str` of length >= 1"),
        (b'{"to":"all","data":1,"idempotencyKey":7}', "Expected `str | null`, got `int`"),
        (b'{"to":"all","data":1,"ttl":-1}', "Expected `float` >= 0.0 - at `$.ttl`"),
        (b'{"to":"all","data":1,"ttl":31536001}', "Expected `float` <= 31536000.0 - at `$.ttl`"),
        (b'{"to":"all","data":1,"ttl":"5"}', "Expected `float | null`, got `str` - at `$.ttl`"),
        (b'{"to":"all","data":1,"ttl":true}', "Expected `float | null`, got `bool` - at `$.ttl`"),
        (b'{"to":"all","data":1,"ttl":NaN}', MALFORMED),
        (b'{"to":"all","data":1,"ttl":Infinity}', MALFORMED),
        (b'{"to":"all","data":1,"ttl":1e999}', "Number out of range"),
        (b'{"to":"all","data":1,"ttl":' + b"9" * 10_000 + b"}", "Number out of range"),
        # targets
        (b'{"to":[],"data":1}', "`to` must name 1 to 100 targets"),
        (b'{"to":"some","data":1}', "`to` must be"),
        (b'{"to":null,"data":1}', "`to` must be"),
        (b'{"to":{"user":5},"data":1}', "`to.user` must be a string"),
        (b'{"to":{"channel":"a.*"},"data":1}', "`to.channel` must not contain *"),
        (b'{"to":{"user":"a\\u0000"},"data":1}', "`to.user` must not contain control characters"),
        (b'{"to":{"user":"\\udc00"},"data":1}', MALFORMED),
        (b'{"to":{"\\ud800":"u"},"data":1}', MALFORMED),
        (b'{"to":{"user":"\xff"},"data":1}', BAD_UTF8),
        (b'{"to":1e999,"data":1}', "Number out of range"),
        (b'{"to":' + b"9" * 10_000 + b',"data":1}', "Integer value out of range"),
        (b'{"to":' + b"9" * 100 + b',"data":1}', "`to` must be"),
        # events
        (b'{"to":"all","data":1,"event":""}', "`event` must not be empty"),
        (b'{"to":"all","data":1,"event":"a\\r"}', BAD_EVENT),
        (b'{"to":"all","data":1,"event":"\\na"}', BAD_EVENT),
        (b'{"to":"all","data":1,"event":"a\\u0000"}', BAD_EVENT),
        (b'{"to":"all","data":1,"event":"a\\udc00"}', MALFORMED),
        (b'{"to":"all","data":1,"event":"a\nb"}', MALFORMED),
        (b'{"to":"all","data":1,"event":"\xff"}', BAD_UTF8),
        (b'{"to":"all","data":1,"event":"stream-gap"}', RESERVED),
        (b'{"to":"all","data":1,"event":"stream-"}', RESERVED),
        (b'{"to":"all","data":1,"event":"' + b"e" * 129 + b'"}', "`event` must be at most 128 characters long"),
        # data: JSON that a client could not parse, and bytes that would break its whole stream
        (with_data(b"NaN"), MALFORMED),
        (with_data(b"[NaN]"), MALFORMED),
        (with_data(b"-Infinity"), MALFORMED),
        (with_data(b"01"), MALFORMED),
        (with_data(b"[1,]"), MALFORMED),
        (with_data(b"trux"), MALFORMED),
        (with_data(b'{"a":"\\q"}'), MALFORMED),
        (with_data(b'{"a":"\\uZZZZ"}'), MALFORMED),
        (with_data(b'{"a":"\n"}'), MALFORMED),
        (with_data(b'"\x00"'), MALFORMED),
        (with_data(b'"\\ud800"'), TRUNCATED),
        (with_data(b'"\\ud800 and more text"'), MALFORMED),
        (with_data(b'"\\udc00"'), MALFORMED),
        (with_data(b'{"a":"\\udc00"}'), MALFORMED),
        (with_data(b'"\xff"'), BAD_UTF8),
        (with_data(b'"\xc0\x80"'), BAD_UTF8),
        (with_data(b'"\xed\xa0\x80"'), BAD_UTF8),
        (with_data(b'"\xf4\x90\x80\x80"'), BAD_UTF8),
        (with_data(b'{"a":"\xff"}'), BAD_UTF8),
        (with_data(b'{"\xff":1}'), BAD_UTF8),
        (with_data(b'["ok","\xe2\x82"]'), BAD_UTF8),
        (b'{"to":"all","data":1,"\xff":1}', BAD_UTF8),
        # depth
        (with_data(b"[" * DEEP + b"]" * DEEP), TOO_DEEP),
        (with_data(b'{"a":' * DEEP + b"1" + b"}" * DEEP), TOO_DEEP),
        (b'{"to":' + b"[" * DEEP + b"]" * DEEP + b',"data":1}', TOO_DEEP),
        (b'{"to":' + b'{"user":' * DEEP + b"1" + b"}" * DEEP + b',"data":1}', TOO_DEEP),
        # size
        (with_data(b'"' + b"x" * 1001 + b'"'), "`data` takes 1001 bytes; at most 1000 are allowed"),
        (with_data(('"' + "é" * 501 + '"').encode()), "`data` takes 1002 bytes; at most 1000 are allowed"),
        (with_data(b'["' + b"x" * 1000 + b'"]'), "`data` takes 1004 bytes"),
        (with_data(b'"' + b"x" * 1_000_000 + b'"'), "`data` takes 1000000 bytes"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_bad_items(body: bytes, reason: str) -> None:
    result = read_one(body)
    assert isinstance(result, BadItem)
    assert str(result).startswith(reason)
    assert len(str(result)) <= MAX_REASON


def test_data_as_large_as_allowed() -> None:
    assert len(draft_of(with_data(b'"' + b"x" * 1000 + b'"')).data) == 1000


@given(st.binary(max_size=40))
def test_data_that_is_no_utf8_never_becomes_a_message(data: bytes) -> None:
    for body in (data, with_data(data), with_data(b'"' + data + b'"'), with_data(b'["' + data + b'"]')):
        result = read_one(body)
        if isinstance(result, Draft):
            assert len(read_events(encode(result.data))) == 1


NOISE = st.sampled_from([*b'{}[]":,\\u0ae\n\xff\xc3 '])
GOOD = b'{"to":{"user":"u"},"data":{"a":["x",1.5,null]},"event":"e","ttl":5,"key":"k"}'


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), NOISE), min_size=1, max_size=4))
def test_a_good_item_with_noise_in_it_is_never_another_kind_of_error(noise: list[tuple[int, int]]) -> None:
    body = bytearray(GOOD)
    for place, byte in noise:
        body[place] = byte
    assert isinstance(read_one(bytes(body)), Draft | BadItem)


# In-process publishing


def test_a_draft_made_in_process_is_held_against_the_same_rules() -> None:
    item = Item({"user": "u"}, msgspec.Raw(), "order", "i", 5.0, "k")
    assert make_draft(item, "x", LIMITS) == Draft((topic.user("u"),), "x", "order", "k", 5.0, "i")


@pytest.mark.parametrize(
    ("item", "data", "reason"),
    [
        (Item("all", msgspec.Raw(), "stream-x"), "x", RESERVED),
        (Item("all", msgspec.Raw(), "a\ud800"), "x", BAD_EVENT),
        (Item("all", msgspec.Raw()), "\ud800", "`data` must not contain lone surrogates"),
        (Item("all", msgspec.Raw()), "x" * 1001, "`data` takes 1001 bytes; at most 1000 are allowed"),
        (Item({"user": "\ud800"}, msgspec.Raw()), "x", "`to.user` must not contain control characters"),
        (Item(object(), msgspec.Raw()), "x", "`to` must be"),
    ],
)
def test_bad_drafts_made_in_process(item: Item, data: str, reason: str) -> None:
    with pytest.raises(BadItem) as raised:
        make_draft(item, data, LIMITS)
    assert str(raised.value).startswith(reason)


# Bodies


@pytest.mark.parametrize(
    ("body", "items", "is_array"),
    [
        (b'{"to":1}', [b'{"to":1}'], False),
        (b" junk [", [b" junk ["], False),
        (b"", [b""], False),
        (b"[]", [], True),
        (b'\r\n\t [ {"a" : 1} , 2,"x" ]\n', [b'{"a" : 1}', b"2", b'"x"'], True),
        (b'["\xff"]', [b'"\xff"'], True),
        (b"[" + b"9" * 10_000 + b"]", [b"9" * 10_000], True),
    ],
)
def test_a_json_body_is_one_item_or_an_array_of_items(body: bytes, items: list[bytes], is_array: bool) -> None:
    assert split_json(body, 3) == (items, is_array)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[", TRUNCATED),
        (b'[{"a":1}', TRUNCATED),
        (b"[1,]", MALFORMED),
        (b"[1] 2", MALFORMED),
        (b"[NaN]", MALFORMED),
        (b"[\xff]", MALFORMED),
        (b"[" * DEEP, TOO_DEEP),
        (b"[" * DEEP + b"]" * DEEP, TOO_DEEP),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_array_that_is_none(body: bytes, reason: str) -> None:
    with pytest.raises(BadBody, match="^" + reason):
        split_json(body, 3)


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", []),
        (b"\n \n\r\n", []),
        (b"1", [b"1"]),
        (b"1\n2\n", [b"1", b"2"]),
        (b"1\r\n\r\n2\r\n", [b"1\r", b"2\r"]),
        (b'"\xe2\x80\xa8"\n2', [b'"\xe2\x80\xa8"', b"2"]),
        (b"\x0b\x0c1\x0b2\n", [b"\x0b\x0c1\x0b2"]),
    ],
)
def test_lines_end_at_line_feeds_only(body: bytes, lines: list[bytes]) -> None:
    assert split_lines(body, 3) == lines
    assert split_lines(body, 2) == lines


def test_an_array_full_of_commas_is_not_longer_for_them() -> None:
    items = [b'{"a":[1,2,3]}', b'"b,c"', b"[[],[1,2]]"]
    body = b"[" + b",".join(items) + b"]"
    for most in (3, 4):
        assert split_json(body, most) == (items, True)
    with pytest.raises(BadBody, match="too many messages in one request; at most 2 are allowed"):
        split_json(body, 2)
    with pytest.raises(BadBody, match=MALFORMED):
        split_json(body[:-1] + b",,]", 9)


def test_of_very_many_items_no_more_are_read_than_tell_so() -> None:
    with pytest.raises(BadBody, match="too many"):
        split_json(b"[" + b"0," * 1_000_000, 3)  # it never got to where the array ends too early
    assert len(split_lines(b"0\n" * 1_000_000, 3)) == 7
    assert split_lines(b"\n" * 1_000_000 + b"1", 3) == [b"1"]


def test_lines_of_either_ending_are_read() -> None:
    lines = split_lines(with_data(b'"a\xe2\x80\xa8b"') + b"\r\n" + with_data(b"2") + b"\n", 3)
    assert [draft.data for draft in read_items(lines, LIMITS) if isinstance(draft, Draft)] == ["a\u2028b", "2"]


def test_an_item_larger_than_any_good_one_is_not_read() -> None:
    """It could be made of millions of targets, each of which costs fifty times its bytes."""
    most = 6 * LIMITS.message_bytes + 1_048_576
    item = with_data(b'"' + b"\\u0041" * LIMITS.message_bytes + b'"')
    assert isinstance(read_one(item + b" " * (most - len(item))), Draft)
    problem = read_one(item + b" " * (most - len(item) + 1))
    assert str(problem) == f"the message takes {most + 1} bytes of JSON; at most {most} are read"


def test_the_longest_targets_are_read() -> None:
    name = "\\ud83d\\ude00" * 256
    targets = ",".join(f'{{"user":"{name[:-12]}\\ud83d\\ude{n:02x}","session":"{"s" * 1024}"}}' for n in range(100))
    assert len(draft_of(f'{{"data":1,"to":[{targets}]}}'.encode()).topics) == 100


def test_each_item_stands_for_itself() -> None:
    first, second, third = read_items([with_data(b"1"), b"junk", with_data(b"3")], LIMITS)
    assert isinstance(first, Draft)
    assert isinstance(second, BadItem)
    assert isinstance(third, Draft)


def test_items_are_read_one_by_one() -> None:
    items = read_items([with_data(b"1"), b"junk"], LIMITS)
    assert isinstance(items, Iterator)
    assert isinstance(next(items), Draft)


@pytest.mark.parametrize(
    ("count", "reason"),
    [(0, "there is no message in the body"), (4, "too many messages in one request; at most 3 are allowed")],
)
def test_too_few_and_too_many_items(count: int, reason: str) -> None:
    with pytest.raises(BadBody, match=reason):
        read_items([with_data(b"1")] * count, LIMITS)


def test_as_many_items_as_allowed() -> None:
    assert len(list(read_items([with_data(b"1")] * 3, LIMITS))) == 3


def test_results_are_metric_labels() -> None:
    assert [result.value for result in PublishResult] == ["accepted", "duplicate", "invalid", "unavailable"]

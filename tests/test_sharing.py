from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from support import FakeStream, make_message
from tornado_sse.message import Message
from tornado_sse.outbox import WRITE_SIZE
from tornado_sse.sharing import Audience, Plan, share
from tornado_sse.topic import ALL

STREAMS = [FakeStream(str(number)) for number in range(6)]
SOME = st.lists(st.sampled_from(STREAMS), unique=True)


def audiences(plans: Sequence[Plan[FakeStream]]) -> list[Audience[FakeStream]]:
    *steps, found = share(plans)
    assert found is not None
    assert set(steps) <= {None}
    return list(found)


def run_of(first: int, count: int, size: int = 1) -> list[Message]:
    return [make_message(first + number, ALL, data="x" * size) for number in range(count)]


@given(st.lists(st.tuples(SOME, st.integers(1, 3)), min_size=1))
def test_each_gets_its_messages_in_order_and_those_who_get_the_same_share_them(
    wanted: list[tuple[list[FakeStream], int]],
) -> None:
    plans: list[Plan[FakeStream]] = [
        (run_of(10 * at, count), streams, ()) for at, (streams, count) in enumerate(wanted)
    ]
    got: dict[FakeStream, list[int]] = {}
    writes: dict[FakeStream, list[int]] = {}
    for messages, streams in audiences(plans):
        for stream in streams:
            got.setdefault(stream, []).extend(message.sequence for message in messages)
            writes.setdefault(stream, []).append(id(messages))
    for stream in STREAMS:
        expected = [message.sequence for run, streams, _ in plans if stream in streams for message in run]
        assert got.get(stream, []) == expected
        assert len(writes.get(stream, [])) == bool(expected)
        alike = [other for other in STREAMS if got.get(other) == got.get(stream)]
        assert len({tuple(writes.get(other, ())) for other in alike}) == 1


def test_a_stream_that_is_told_its_channels_gets_all_in_order_too() -> None:
    one, other = STREAMS[:2]
    first, second = run_of(1, 2), run_of(3, 1)
    found = audiences([(first, [other], [None, (("c", "d"), [one])]), (second, [one], ())])
    received = {
        stream: b"".join(message.frame.body for messages, streams in found if stream in streams for message in messages)
        for stream in (one, other)
    }
    plain = [message.frame.body for message in first + second]
    labels = b"channel: c\nchannel: d\n"
    assert received == {one: labels + plain[0] + labels + plain[1] + plain[2], other: plain[0] + plain[1]}


def test_no_write_becomes_much_larger_than_a_write_should_be() -> None:
    stream, plans = STREAMS[0], [(run_of(10 * at, 1, size=WRITE_SIZE // 3), STREAMS[:1], ()) for at in range(8)]
    found = audiences(plans)
    assert [len(messages) for messages, streams in found if stream in streams] == [3, 3, 2]

"""What makes the server quick, counted rather than timed, so that it stays so."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from server_support import Clock, Served, serving
from stream_support import bench_with
from tornado_sse.stream import Stream

STREAMS = 20


async def open_streams(node: Served, count: int = STREAMS) -> None:
    before = len(node.streams)
    for index in range(before, before + count):
        await node.opened(f"s{index}", user=f"u{index}")


def count_sends(streams: list[Stream]) -> list[int]:
    """Note the size of every write from now on."""
    sizes: list[int] = []

    def counted(send: Callable[[bytes], int]) -> Callable[[bytes], int]:
        def count(data: bytes) -> int:
            sizes.append(len(data))
            return send(data)

        return count

    for stream in streams:
        stream.send = counted(stream.send)
    return sizes


@pytest.mark.gen_test
async def test_what_arrives_together_leaves_in_one_write_a_stream() -> None:
    async with serving() as node:
        await open_streams(node)
        sizes = count_sends(node.streams)
        lines = b"\n".join(b'{"to":"all","data":"%d"}' % number for number in range(10))
        await node.ask("/sse/publish", {"Content-Type": "application/x-ndjson"}, method="POST", body=lines)
        for client in node.clients[:STREAMS]:
            blocks = [await client.block() for _ in range(10)]
            assert [block and block.data for block in blocks] == [str(number) for number in range(10)]
        assert len(sizes) == STREAMS
        assert len(set(sizes)) == 1


@pytest.mark.gen_test
async def test_a_stream_has_no_task_and_no_timer_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as node:
        with bench_with(Clock()) as bench:
            tasks = asyncio.all_tasks()
            for name in ("call_at", "call_later", "create_task", "add_reader", "add_writer"):
                monkeypatch.setattr(asyncio.get_running_loop(), name, forbidden(name))
            for _ in range(STREAMS):
                bench.live()
            bench.publish("to all")
            bench.registry.tick()
            monkeypatch.undo()
            assert bench.stats.messages_delivered == STREAMS
        await open_streams(node)
        assert asyncio.all_tasks() == tasks


def forbidden(name: str) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        pytest.fail(f"{name} for a stream")

    return call


@pytest.mark.gen_test
async def test_a_connect_and_a_publish_leave_nothing_to_the_garbage_collector() -> None:
    async with serving() as node:
        await open_streams(node, 2)
        await node.ask("/sse/send?userId=u0&message=x")
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await open_streams(node)
            await node.ask("/sse/send?userId=u0&message=x")
            gc.collect()
            ours = [one for one in gc.garbage if type(one).__module__.startswith(("tornado", "tornado_sse"))]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert ours == []


@pytest.mark.gen_test
async def test_a_plain_request_takes_few_turns_of_the_loop() -> None:
    async with serving() as node:
        client = await node.client()
        await client.request("/healthz")
        await client.response()
        turns = 0
        answered = asyncio.Event()

        async def count_turns() -> None:
            nonlocal turns
            while not answered.is_set():
                await asyncio.sleep(0)
                turns += 1

        await client.request("/healthz")
        counting = asyncio.create_task(count_turns())
        await client.response()
        answered.set()
        await counting
        assert turns <= 8, "with the client's own, which takes its turns in the same loop"

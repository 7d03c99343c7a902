"""A process that dies with its parent, shown on real ones."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from signal import SIGKILL

import pytest

from client_support import until
from workers_support import alive

GRANDCHILD = """
import asyncio, os
from tornado_sse.workers import tether

async def main():
    child = await tether.start(["sleep", "60"])
    print(child.pid, os.getpgid(child.pid), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""

ORPHAN = """
import os
from tornado_sse.workers import tether
tether.die_with(os.getppid())
try:
    tether.die_with(1 << 22)
except ProcessLookupError as error:
    print(error)
"""


async def run(code: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)


@pytest.mark.gen_test
async def test_it_is_killed_with_the_one_that_started_it() -> None:
    parent = await run(GRANDCHILD)
    assert parent.stdout
    pid, group = map(int, (await parent.stdout.readline()).split())
    assert group == pid
    assert alive(pid)
    parent.send_signal(SIGKILL)
    await parent.wait()
    await until(lambda: not alive(pid))


@pytest.mark.gen_test
async def test_it_does_not_begin_if_that_one_is_gone_already() -> None:
    said, _ = await (await run(ORPHAN)).communicate()
    assert said == b"the process that started this one is gone\n"

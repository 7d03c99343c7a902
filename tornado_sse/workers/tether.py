"""Processes that never outlive the one that started them, even if that is killed."""

import asyncio
import ctypes
import os
from collections.abc import Sequence
from functools import partial
from signal import SIGKILL
from typing import Any

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal to get when the parent ends."""

_libc = ctypes.CDLL(None, use_errno=True)


async def start(command: Sequence[str], **options: Any) -> asyncio.subprocess.Process:  # noqa: ANN401 - handed to Popen
    """Start a process that the kernel kills when this one ends. To be called in the main thread. Raises OSError.

    It is in a process group of its own: Ctrl-C in a terminal reaches the first process alone, which says what to do.
    """
    tie = partial(die_with, os.getpid())
    return await asyncio.create_subprocess_exec(*command, preexec_fn=tie, process_group=0, **options)


def die_with(parent: int) -> None:
    """Be killed when the process that started this one ends; `parent` is its id. Raises ProcessLookupError if it has.

    It holds over an exec(2), and nothing else is done here: this runs between fork and exec.
    """
    _libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise ProcessLookupError("the process that started this one is gone")

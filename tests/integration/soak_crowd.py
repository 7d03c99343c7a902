"""A share of a soak's clients in a process of its own, and how it is told what to do."""

import asyncio
import gc
import multiprocessing
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from chaos_history import Sent
from chaos_play import CATCH_UP
from soak_visitors import Seen, Share, Visitors
from tornado_sse.position import Position


class Crowd:
    """The process, seen from the one that started it."""

    def __init__(self, share: Share) -> None:
        processes = multiprocessing.get_context("spawn")
        self._pipe, theirs = processes.Pipe()
        self._process = processes.Process(target=_main, args=(share, theirs), daemon=True)
        self._process.start()
        theirs.close()

    async def opened(self) -> None:
        """Wait until each of them has had a stream."""
        await asyncio.to_thread(self._pipe.recv)

    def stir(self) -> None:
        """Have them come and go from now on."""
        self._pipe.send(True)

    def calm(self) -> None:
        """Have nobody leave any more."""
        self._pipe.send(False)

    async def judged(self, sent: Sequence[Sent], last: Position) -> Seen:
        """Wait until they have the last message; return what they saw of those sent."""
        self._pipe.send((sent, last))
        seen: Seen = await asyncio.to_thread(self._pipe.recv)
        return seen

    def close(self) -> None:
        """End it, as the end of its pipe does."""
        self._pipe.close()
        self._process.join(CATCH_UP)
        self._process.close()


def _main(share: Share, pipe: Connection) -> None:
    gc.disable()  # what clients write down has no cycles, and looking through it would hold them up
    with suppress(EOFError):
        Visitors(share, pipe).live()

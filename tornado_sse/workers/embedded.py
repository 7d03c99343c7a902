"""A NATS server of our own, for workers whose settings name no broker.

It listens on loopback alone, on a free port, and lets in who has its token, which is in a file of mode 0600 and nowhere
else outside of our memory. Its messages are in files, so that they survive if it dies alone; they go with the run.
"""

import asyncio
import os
import re
import secrets
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr

from tornado_sse.config import ConfigProblem, Settings
from tornado_sse.errors import Unavailable
from tornado_sse.log import logger
from tornado_sse.workers import tether
from tornado_sse.workers.backoff import Backoff
from tornado_sse.workers.private_folder import PrivateFolder

PROGRAM = "nats-server"

PATIENCE = 10.0
"""Seconds that it has to start, and to end."""

LOOK = 0.02
"""Seconds between two looks whether it has started."""

MIB = 1 << 20

_BAD = re.compile(r"(?:\[(?:ERR|FTL)\]|nats-server:) (.*)")


def config(settings: Settings, folder: Path, port: int, token: str) -> dict[str, Any]:
    """Return its configuration; `port` -1 takes a free one, which it writes to a file in the folder."""
    return {
        "host": "127.0.0.1",
        "port": port,
        "ports_file_dir": str(folder),
        "authorization": {"token": token},
        "max_payload": settings.max_message_bytes + MIB,
        "jetstream": {"store_dir": str(folder), "max_file_store": settings.history_bytes + MIB},
    }


class EmbeddedNats:
    """The server, from `start` to `close`; it is started again when it dies.

    Raises ConfigProblem if it is not installed, or has no place for its files.
    """

    def __init__(self, settings: Settings) -> None:
        program = shutil.which(PROGRAM, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if program is None or find_spec("nats") is None:
            raise ConfigProblem(
                ["several workers share messages through NATS: pip install '.[cluster]' in a checkout, or set a broker"]
            )
        self._program = program
        self._settings = settings
        self._token = secrets.token_urlsafe(32)
        self._port = -1
        try:
            self._folder = PrivateFolder()
        except OSError as error:
            raise ConfigProblem([f"no folder for the private NATS: {error}"]) from error
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._logging: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and wait until it can be connected to. Raises Unavailable."""
        process = await self._launch()
        self._keeper = asyncio.create_task(self._keep(process))

    def lead(self, settings: Settings) -> Settings:
        """Return the settings with which a worker finds it."""
        url = f"nats://127.0.0.1:{self._port}"
        return settings.model_copy(update={"broker": url, "broker_token": SecretStr(self._token)})

    async def close(self) -> None:
        """End it, and remove its files."""
        if self._keeper:
            self._keeper.cancel()
        if self._process:
            await _end(self._process)
        self._folder.close()

    async def _launch(self) -> Process:
        content = config(self._settings, self._folder.path, self._port, self._token)
        file = self._folder.write("nats.conf", msgspec.json.encode(content))
        process = self._process = await tether.start([self._program, "-c", str(file)], stderr=PIPE, env={})
        self._logging = asyncio.create_task(_log(process))
        try:
            async with asyncio.timeout(PATIENCE):
                while (port := self._listening(process)) is None:
                    if process.returncode is not None:
                        await self._logging
                        raise Unavailable(f"{PROGRAM} ended with code {process.returncode}")
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            process.kill()
            raise Unavailable(f"{PROGRAM} does not start") from None
        self._port = port
        logger().info("private NATS started", pid=process.pid)
        return process

    def _listening(self, process: Process) -> int | None:
        """Return the port that it listens on; None: it does not, yet."""
        with suppress(OSError, msgspec.DecodeError):
            content = (self._folder.path / f"{PROGRAM}_{process.pid}.ports").read_bytes()
            return int(msgspec.json.decode(content)["nats"][0].rpartition(":")[2])
        return None

    async def _keep(self, process: Process | None) -> None:
        clock, backoff = asyncio.get_running_loop().time, Backoff()
        while True:
            begun = clock()
            if process:
                logger().error("private NATS ended", code=await process.wait())
            await asyncio.sleep(backoff.pause(clock() - begun))
            process = await self._launch_again()

    async def _launch_again(self) -> Process | None:
        try:
            return await self._launch()
        except (Unavailable, OSError) as error:
            logger().error("private NATS does not start", problem=str(error))
            return None


async def _log(process: Process) -> None:
    """Put into our log what it says of errors."""
    assert process.stderr  # noqa: S101 - it is a pipe; tells the type checker
    async for line in process.stderr:
        if bad := _BAD.search(line.decode(errors="replace")):
            logger().warning("private NATS says", text=bad[1].rstrip())


async def _end(process: Process) -> None:
    """Have it end, and don't wait too long."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()

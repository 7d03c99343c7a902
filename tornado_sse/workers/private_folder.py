"""A folder for one run, which nobody else may read. What a killed run left is removed by the next one."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "tornado-sse-"

MARK = "in-use"
"""Name of the file that every such folder has once it is locked."""


class PrivateFolder:
    """A temporary folder with mode 0700, below the folder that TMPDIR names. Raises OSError."""

    def __init__(self) -> None:
        _sweep(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self.path / MARK).touch()

    def write(self, name: str, content: bytes) -> Path:
        """Write a file for our eyes alone; return its path."""
        path = self.path / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        return path

    def close(self) -> None:
        """Remove it, with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep(parent: Path) -> None:
    """Remove the folders of ours that no living process holds."""
    for mark in parent.glob(f"{PREFIX}*/{MARK}"):
        with suppress(OSError):
            if mark.stat().st_uid == os.getuid():
                _remove_unlocked(mark.parent)


def _remove_unlocked(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)

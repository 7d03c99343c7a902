"""Fixtures of the tests that need other programs."""

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"


@pytest.fixture
def node(need_program: Callable[[str], str]) -> str:
    """Find Node.js, with the packages that tests/clients/package-lock.json names."""
    program = need_program("node")
    install_clients(need_program("npm"))
    return program


@cache
def install_clients(npm: str) -> None:
    """Install them unless they are there and no older than the lock file."""
    installed = CLIENTS / "node_modules" / ".package-lock.json"
    lock = CLIENTS / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run([npm, "ci", "--prefix", CLIENTS, "--silent"], check=True, timeout=300)

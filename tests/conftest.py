"""Fixtures shared by all tests."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from server_support import Clock

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")


def pytest_configure() -> None:
    """Have no event loop in force: the first to ask for one would make a loop that nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture
def need_program() -> Callable[[str], str]:
    """Find a program that a test needs: without it the test is skipped, but in CI it fails."""

    def find(name: str) -> str:
        path = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
        if path is None:
            reason = f"the program {name} is not installed"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find


@pytest.fixture(autouse=True)
def _structlog_as_it_was() -> Iterator[None]:
    """Undo what a test set up; capturing logs leaves structlog set up to print."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def clock() -> Clock:
    """Time that passes when it is told to."""
    return Clock()


@pytest.fixture
def node(need_program: Callable[[str], str]) -> str:
    """Find Node.js, with the packages that tests/clients/package-lock.json names."""
    program = need_program("node")
    install_packages(need_program("npm"), Path(__file__).parent / "clients")
    return program


@pytest.fixture
def client_tools(need_program: Callable[[str], str]) -> Callable[..., str]:
    """Run a program in client/, with the packages that its lock file names, and return what it said."""
    need_program("node")
    npm = need_program("npm")
    folder = Path(__file__).parents[1] / "client"
    install_packages(npm, folder)

    def run(*command: object) -> str:
        words = [*map(str, command)]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@cache
def install_packages(npm: str, folder: Path) -> None:
    """Install them unless they are there and no older than the lock file."""
    installed = folder / "node_modules" / ".package-lock.json"
    lock = folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run([npm, "ci", "--prefix", folder, "--loglevel=error"], check=True, timeout=300)

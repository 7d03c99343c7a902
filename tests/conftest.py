"""Fixtures shared by all tests."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from server_support import Clock


@pytest.fixture
def need_program() -> Callable[[str], str]:
    """Find a program that a test needs: without it the test is skipped, but in CI it fails."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            reason = f"the program {name} is not installed"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
        return path

    return find


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Time that passes when it is told to."""
    return Clock()

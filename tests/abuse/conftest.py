"""Fixtures for tests of attacks: the server at its own speed, and the figures that held, told at the end."""

import os
from collections.abc import Callable

import pytest

HELD = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture(autouse=True)
def _at_its_own_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the server under attack, not coverage in it."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def held(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Note a figure that held, to be printed at the end of the run."""
    figures = request.config.stash.setdefault(HELD, [])
    return lambda figure: figures.append((request.node.nodeid.rpartition("/")[2], figure))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures."""
    figures = config.stash.get(HELD, [])
    if figures:
        terminalreporter.section("figures that held")
        for test, figure in figures:
            terminalreporter.write_line(f"{test}: {figure}")

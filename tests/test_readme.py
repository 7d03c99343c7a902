"""README says what is true: its table is the declaration, its links lead somewhere, its words are commands."""

import re
from pathlib import Path

import click
import pytest

from readme import README, with_table
from tornado_sse.cli import main

ROOT = README.parent
TEXT = README.read_text(encoding="utf-8")


def test_table_of_settings_is_the_declaration() -> None:
    assert with_table(TEXT) == TEXT, "run `make readme`"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"(?:\]\(|src(?:set)?=\")(?!https?:)([^)#\"]+)", TEXT))))
def test_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"tornado-sse ([a-z]+)", TEXT))))
def test_command_exists(command: str) -> None:
    assert isinstance(main, click.Group)
    assert command in main.commands


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make ([a-z]+)", TEXT, re.MULTILINE))))
def test_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_no_path_of_a_machine_is_in_it() -> None:
    assert str(Path.home()) not in TEXT

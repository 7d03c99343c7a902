import runpy
import sys

import pytest

from cli_support import invoke
from tornado_sse import __version__


def test_version() -> None:
    assert invoke("--version").stdout == f"tornado-sse {__version__}\n"


def test_help_names_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for command in ("check", "send", "serve", "tail", "token"):
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("args", [("nonsense",), ("serve", "--nonsense"), ("token",)])
def test_wrong_usage_is_exit_code_2(args: tuple[str, ...]) -> None:
    assert invoke(*args).exit_code == 2


def test_python_m_is_the_same_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("tornado_sse", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"tornado-sse {__version__}\n"

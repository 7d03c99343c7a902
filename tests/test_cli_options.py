from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli_support import invoke
from tornado_sse.cli.options import Refused, read_settings, settings_options
from tornado_sse.config import Settings, flag


def test_every_setting_is_a_flag() -> None:
    help_text = invoke("serve", "--help").stdout
    for name in Settings.model_fields:
        assert f"\n  {flag(name)} " in help_text


def test_a_flag_says_its_type_default_and_limits() -> None:
    words = " ".join(invoke("serve", "--help").stdout.split())
    assert "--port INTEGER Port of the public listener; 0 takes a free one. (0 to 65535) [default: 8080] " in words
    assert "--keepalive SECONDS " in words
    assert "--allowed-origins LIST " in words
    assert "--jwt-issuer TEXT What a token's iss must be; empty: anything. --jwt-audience" in words


def test_flags_arrive_as_text_switches_as_booleans_and_the_rest_as_none() -> None:
    seen: dict[str, object] = {}

    @click.command()
    @settings_options(["port", "dev", "compression", "host"])
    def command(**given: object) -> None:
        seen.update(given)

    assert CliRunner().invoke(command, ["--port", "1", "--no-dev", "--config", "x"]).exit_code == 0
    assert seen == {"config_file": Path("x"), "port": "1", "dev": False, "compression": None, "host": None}


def test_settings_are_read_from_this_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORNADO_SSE_PORT", "81")
    assert read_settings(None, {"host": "::1"}).port == 81


def test_problems_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refused) as refused:
        read_settings(None, {"port": "x", "retry": "x"})
    assert refused.value.exit_code == 2
    refused.value.show()
    assert capsys.readouterr().err == (
        "--port: x is not allowed: a whole number: 0 to 65535\n--retry: x is not allowed: a number: above 0 to 300\n"
    )

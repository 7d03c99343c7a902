import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli_support import SECRET, invoke
from tornado_sse import log
from tornado_sse.config import ConfigProblem, Settings

Reload = Callable[[], Settings]


class Lifecycle:
    """Stands in for the server: remembers its settings, does something `during` its run, and ends with `code`."""

    def __init__(self) -> None:
        self.served: list[Settings] = []
        self.code = 0
        self.during: Callable[[Reload], None] = lambda _reload: None

    def serve(self, settings: Settings, reload: Reload) -> int:
        self.served.append(settings)
        self.during(reload)
        return self.code


@pytest.fixture
def lifecycle(monkeypatch: pytest.MonkeyPatch) -> Lifecycle:
    fake = Lifecycle()
    monkeypatch.setitem(sys.modules, "tornado_sse.lifecycle", SimpleNamespace(serve=fake.serve))
    return fake


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(log, "configure", lambda *args: calls.append(args))
    return calls


def test_serves_with_flags_environment_and_file(lifecycle: Lifecycle, tmp_path: Path) -> None:
    file = tmp_path / "sse.toml"
    file.write_text("retry = 3\nport = 1\n")
    result = invoke(
        "serve", "--port", "0", TORNADO_SSE_CONFIG=str(file), TORNADO_SSE_JWT_SECRET=SECRET, TORNADO_SSE_HOST="::1"
    )
    assert result.exit_code == 0
    (settings,) = lifecycle.served
    assert settings == Settings(port=0, host="::1", retry=3, jwt_secret=SECRET)


def test_exits_with_the_code_of_the_server(lifecycle: Lifecycle) -> None:
    lifecycle.code = 3
    assert invoke("serve", "--jwt-secret", SECRET).exit_code == 3


def test_several_workers_have_a_supervisor(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Lifecycle()
    monkeypatch.setitem(sys.modules, "tornado_sse.workers.supervisor", SimpleNamespace(serve=supervisor.serve))
    assert invoke("serve", "--jwt-secret", SECRET, "--workers", "2").exit_code == 0
    assert supervisor.served == [Settings(jwt_secret=SECRET, workers=2)]
    assert lifecycle.served == []


@pytest.mark.usefixtures("lifecycle")
def test_sets_up_the_log(configured: list[tuple[str, str]]) -> None:
    invoke("serve", "--jwt-secret", SECRET, "--log-level", "debug", "--log-format", "json")
    assert configured == [("debug", "json")]


def test_without_a_key_it_says_what_to_set(lifecycle: Lifecycle, configured: list[tuple[str, str]]) -> None:
    result = invoke("serve")
    assert result.exit_code == 2
    assert "set TORNADO_SSE_JWT_SECRET, " in result.stderr
    assert (lifecycle.served, configured) == ([], [])


def test_settings_that_are_refused_are_exit_code_2(lifecycle: Lifecycle) -> None:
    result = invoke("serve", "--jwt-secret", SECRET, TORNADO_SSE_PORT="99999")
    assert result.exit_code == 2
    assert result.stderr == "TORNADO_SSE_PORT: 99999 is not allowed: a whole number: 0 to 65535\n"
    assert lifecycle.served == []


def test_dev_makes_a_secret_for_each_run(lifecycle: Lifecycle) -> None:
    assert invoke("serve", "--dev").exit_code == 0
    assert invoke("serve", "--dev").exit_code == 0
    first, second = (settings.jwt_secret for settings in lifecycle.served)
    assert first is not None
    assert second is not None
    assert len(first.get_secret_value()) == 64
    assert first != second


def test_dev_keeps_a_secret_that_is_configured(lifecycle: Lifecycle) -> None:
    invoke("serve", "--dev", "--jwt-secret", SECRET)
    assert lifecycle.served == [Settings(dev=True, jwt_secret=SECRET)]


def test_a_reload_reads_the_settings_anew_and_keeps_the_secret_of_the_run(lifecycle: Lifecycle, tmp_path: Path) -> None:
    file = tmp_path / "sse.toml"
    file.write_text("max_streams = 1\n")

    def during(reload: Reload) -> None:
        file.write_text("max_streams = 2\n")
        lifecycle.served.append(reload())

    lifecycle.during = during
    assert invoke("serve", "--dev", "--config", str(file)).exit_code == 0
    before, after = lifecycle.served
    assert (before.max_streams, after.max_streams) == (1, 2)
    assert before.jwt_secret == after.jwt_secret


@pytest.mark.parametrize(("text", "problem"), [("port = 'x'", "port in "), ("", "no key to check tokens with")])
def test_a_reload_refuses_what_a_start_would(lifecycle: Lifecycle, tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "sse.toml"
    file.write_text(f"jwt_secret = '{SECRET}'\n")
    raised: list[ConfigProblem] = []

    def during(reload: Reload) -> None:
        file.write_text(text)
        with pytest.raises(ConfigProblem, match=problem) as caught:
            reload()
        raised.append(caught.value)

    lifecycle.during = during
    assert invoke("serve", "--config", str(file)).exit_code == 0
    assert len(raised) == 1

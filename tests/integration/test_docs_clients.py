"""The examples of docs/clients.md."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser_support import run_server

TEXT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()


@pytest.fixture
def events() -> Callable[[str, str], Iterator[Any]]:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own documentation
    reading: Callable[[str, str], Iterator[Any]] = names["events"]
    return reading


@pytest.mark.slow
def test_the_python_client_gets_each_event_once_and_stays_away_when_told(
    events: Callable[[str, str], Iterator[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with run_server("--retry=0.1") as server:
        session = server.mint("py")
        token = server.token("py")
        server.publish("py", "before its time")
        got = events(f"{server.url}/sse/connect/{session}?lastEventId=0", token)
        assert next(got).event == "stream-gap"
        server.publish("py", "one")
        assert next(got).data == "one"
        assert server.cut(session) == 1
        server.publish("py", "two", "three")
        assert [next(got).data, next(got).data] == ["two", "three"]
        server.disconnect(session)
        assert next(got).event == "stream-closing"
        assert list(got) == []

import json
import re

import pytest
from click.testing import Result

from cli_support import SECRET, Answer, invoke, scripted_server
from server_support import serving_in_thread, token
from tornado_sse.cli import canary

RECEIPT = Answer((b'{"receipts": [{"index": 0, "position": "e-1", "streams": 7}]}',), headers={})
BEGIN = b"retry: 10\nid: e-1\n\n"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "sleep", lambda _seconds: None)


def sing(url: str, *args: str) -> Result:
    return invoke("tail", "--canary", url, *args, TORNADO_SSE_JWT_SECRET=SECRET)


def test_prints_how_long_each_took() -> None:
    with serving_in_thread() as node:
        result = sing(node.url, "--count", "3")
        assert sum(node.server.stats.messages_published.values()) == 3
    assert result.exit_code == 0
    *each, last = result.stdout.splitlines()
    assert all(re.fullmatch(r"\d+\.\d ms", line) for line in each)
    assert len(each) == 3
    assert last.startswith("3 of 3 arrived: median ")


def test_json_is_an_object_a_line() -> None:
    with serving_in_thread() as node:
        result = sing(node.url, "--count", "2", "--json")
    assert [json.loads(line)["number"] for line in result.stdout.splitlines()] == [1, 2]


def test_ctrl_c_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(canary, "sleep", interrupt)
    with serving_in_thread() as node:
        assert sing(node.url).exit_code == 130


def test_nobody_answers() -> None:
    result = sing("http://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no answer from http://127.0.0.1:1" in result.stderr


def test_a_url_that_is_none() -> None:
    assert sing("localhost").exit_code == 2


def test_a_token_that_may_not() -> None:
    with serving_in_thread() as node:
        result = sing(node.url, "--token", token("u1", scopes=["subscribe"]))
        assert (result.exit_code, "403 Forbidden" in result.stderr) == (1, True)
        result = sing(node.url, "--token", token("u1", scopes=["publish"]))
    assert (result.exit_code, "403 Forbidden" in result.stderr) == (1, True)


def test_a_stream_that_ends() -> None:
    with scripted_server(Answer((BEGIN,)), RECEIPT) as server:
        result = sing(server.url)
    assert (result.exit_code, result.stderr) == (1, "Error: the stream ended\n")


def test_a_message_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "PATIENCE", 0.5)
    with serving_in_thread(keepalive=0.05) as node:  # so that bytes come all the same
        result = sing(node.url, "--user", "u2", "--token", token("u1", session=None))
    assert result.exit_code == 1
    assert "lost: accepted for 0 streams, not here within 0.5 s" in result.stderr


def test_a_stream_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "PATIENCE", 0.5)
    with serving_in_thread() as node:
        result = sing(node.url, "--user", "u2", "--token", token("u1", session=None))
    assert result.exit_code == 1
    assert "nothing came within 0.5 s: does a proxy buffer the stream?" in result.stderr

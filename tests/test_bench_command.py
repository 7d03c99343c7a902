import re
import socket
import sys
from collections.abc import Iterator

import jwt
import pytest

from bench_support import bench, found
from cli_support import SECRET, invoke
from server_support import serving_in_thread
from tornado_sse.cli.bench import command, crew, progress, sockets


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving_in_thread(jwt_secret=SECRET) as node:
        yield node.url


@pytest.mark.parametrize(
    ("args", "deliveries"),
    [
        (("--messages", "7"), 70),
        (("--messages", "7", "--batch", "3", "--channel", "a b"), 70),
        (("--messages", "25", "--unicast"), 25),
        (("--messages", "7", "--all", "--size", "1000"), 70),
        (("--rate", "1000", "--duration", "0.02"), 200),
        (("--messages", "25", "--unicast", "--batch", "4", "--processes", "2"), 25),
    ],
)
def test_counts_every_delivery(url: str, args: tuple[str, ...], deliveries: int) -> None:
    seen = found(url, "--streams", "10", *args)
    assert seen["streams"]["opened"] == seen["streams"]["asked"] == 10
    assert seen["deliveries"]["received"] == seen["deliveries"]["expected"] == deliveries
    assert [seen["deliveries"][name] for name in ("lost", "reordered", "duplicates", "gaps")] == [0] * 4
    assert 0 < seen["latency_ms"]["p50"] <= seen["latency_ms"]["p99"] <= seen["latency_ms"]["max"]
    assert seen["stopped"] is None


def test_the_table_is_what_is_printed(url: str) -> None:
    result = bench(url, "--streams", "2", "--messages", "3")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert re.match(r"streams +2 of 2 opened in .*\nmessages +3 published in .*\ndeliveries +6 of 6 ", result.stdout)


def test_one_token_makes_all_streams_one_users(url: str) -> None:
    token = jwt.encode({"sub": "me", "exp": 4e9, "scope": "subscribe publish"}, SECRET)
    seen = found(url, "--streams", "3", "--messages", "6", "--unicast", "--token", token)
    assert seen["deliveries"]["received"] == 6


def test_streams_that_are_turned_away_are_told(url: str) -> None:
    token = jwt.encode({"sub": "me", "exp": 4e9, "scope": "subscribe publish", "channels": ["c"]}, SECRET)
    result = bench(url, "--streams", "40", "--messages", "2", "--channel", "c", "--token", token)
    assert result.exit_code == 1
    assert "32 of 40 opened" in result.stdout
    assert "deliveries    64 of 64 " in result.stdout
    assert "8 streams; the first: 429 Too Many Requests: this user has" in result.stdout


def test_without_any_stream_there_is_only_the_reason(url: str) -> None:
    result = bench(url, "--streams", "2", "--messages", "2", "--token", "nonsense")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: no stream opened: 401 Unauthorized: ")


def test_a_token_that_may_not_publish_is_told(url: str) -> None:
    token = jwt.encode({"sub": "me", "exp": 4e9, "channels": ["c"]}, SECRET)
    result = bench(url, "--streams", "2", "--messages", "2", "--channel", "c", "--token", token)
    assert result.exit_code == 1
    assert "Error: publishing was refused: 403 Forbidden: " in result.stderr


def test_a_message_that_is_refused_is_told(url: str) -> None:
    result = bench(url, "--streams", "1", "--messages", "1", "--size", "70000")
    assert result.exit_code == 1
    assert "Error: a message was refused: " in result.stderr


def test_streams_start_in_bursts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "BURST", 2)
    assert found(url, "--streams", "9", "--messages", "1")["streams"]["opened"] == 9


def test_streams_beyond_them_come_from_other_addresses(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(sockets, "PORTS", 1)
    assert found(url, "--streams", "3", "--messages", "1")["streams"]["opened"] == 3


def test_a_progress_bar_shows_on_a_terminal(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORNADO_SSE_JWT_SECRET", SECRET)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(progress, "REDRAW", 0)
    with pytest.raises(SystemExit) as ended:
        command.bench.main([url, "--streams", "2", "--messages", "2"], standalone_mode=False)
    assert ended.value.code == 0
    errors = capsys.readouterr().err
    assert "connecting" in errors
    assert "publishing" in errors
    assert " 4/4" in errors


@pytest.mark.parametrize(
    "args",
    [
        ("localhost",),
        ("http://h", "--all", "--unicast"),
        ("http://h", "--messages", "3", "--rate", "3"),
        ("http://h", "--messages", "3", "--duration", "3"),
        ("http://h", "--streams", "1000000"),
        ("http://h", "--size", "3"),
        ("http://h", "--unicast", "--token", "opaque"),
        ("http://h",),
    ],
)
def test_wrong_usage_is_exit_code_2(args: tuple[str, ...]) -> None:
    result = invoke("bench", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_a_host_that_nobody_knows_is_told() -> None:
    result = bench("http://nowhere.invalid")
    assert result.exit_code == 1
    assert "Error: no answer from nowhere.invalid: " in result.stderr


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = bench(f"http://127.0.0.1:{port}", "--streams", "3")
    assert result.exit_code == 1
    assert result.stderr == "Error: no stream opened: Connection refused\n"

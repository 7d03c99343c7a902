import json
from typing import Any

import jwt
import pytest
from click.testing import Result

from cli_support import SECRET, Answer, Scripted, invoke, scripted_server


def receipts(*items: dict[str, Any]) -> Answer:
    return Answer((json.dumps({"receipts": items}).encode(),), 200, {"Content-Type": "application/json"})


ONE = receipts({"position": "e-1", "streams": 2, "duplicate": False})


def send(server: Scripted, *args: str, signed: bool = False, stdin: bytes | None = None) -> Result:
    given = [] if signed else ["--token", "t"]
    return invoke("send", "--url", server.url, *given, *args, stdin=stdin, TORNADO_SSE_JWT_SECRET=SECRET)


def bodies(server: Scripted) -> list[list[Any]]:
    return [[json.loads(line) for line in request.body.splitlines()] for request in server.requests]


@pytest.mark.parametrize(
    ("args", "to"),
    [
        (["--user", "u1"], {"user": "u1"}),
        (["--user", "u1", "--session", "s1"], {"user": "u1", "session": "s1"}),
        (["--channel", "c"], {"channel": "c"}),
        (["--all"], "all"),
    ],
)
def test_publishes_a_text_and_prints_the_receipt(args: list[str], to: object) -> None:
    with scripted_server(ONE) as server:
        result = send(server, *args, '{"a": 1}')
    assert (result.exit_code, result.stdout, result.stderr) == (0, "e-1 streams=2\n", "")
    assert bodies(server) == [[{"to": to, "data": '{"a": 1}'}]]
    (request,) = server.requests
    assert (request.method, request.uri) == ("POST", "/sse/publish")
    assert request.headers["Content-Type"] == "application/x-ndjson"
    assert request.headers["Authorization"] == "Bearer t"


def test_event_and_json() -> None:
    with scripted_server(ONE) as server:
        assert send(server, "--all", "--event", "order", "--json", '{\n"a": 1e3,\r\n"b": "\\n"}').exit_code == 0
    assert bodies(server) == [[{"to": "all", "event": "order", "data": {"a": 1000.0, "b": "\n"}}]]
    assert b"1e3" in server.requests[0].body  # untouched


def test_a_duplicate_is_told() -> None:
    with scripted_server(receipts({"position": "e-1", "streams": 0, "duplicate": True})) as server:
        assert send(server, "--all", "x").stdout == "e-1 streams=0 duplicate\n"


def test_without_a_token_one_is_signed_that_may_publish() -> None:
    with scripted_server(ONE) as server:
        send(server, "--all", "x", signed=True)
    token = server.requests[0].headers["Authorization"].split()[1]
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["scope"]) == ("tornado-sse-cli", "publish")
    assert claims["exp"] - claims["iat"] == pytest.approx(60)


def test_each_line_of_standard_input_is_a_message() -> None:
    with scripted_server(receipts({"position": "e-1", "streams": 1}, {"position": "e-2", "streams": 1})) as server:
        result = send(server, "--all", "-", stdin="a\u2028b\r\n\xe9".encode())
    assert result.stdout == "e-1 streams=1\ne-2 streams=1\n"
    assert bodies(server) == [[{"to": "all", "data": "a\u2028b"}, {"to": "all", "data": "\xe9"}]]


def test_standard_input_without_lines_publishes_nothing() -> None:
    with scripted_server() as server:
        assert send(server, "--all", "-", stdin=b"").exit_code == 0
    assert server.requests == []


@pytest.mark.parametrize(
    ("lines", "requests"), [(["x"] * 1001, [1000, 1]), (["x" * 600_000] * 2, [1, 1]), (["x" * 2_000_000], [1])]
)
def test_many_or_long_lines_go_in_several_requests(lines: list[str], requests: list[int]) -> None:
    with scripted_server(*[ONE] * len(requests)) as server:
        assert send(server, "--all", "-", stdin="\n".join(lines).encode()).exit_code == 0
    assert [len(body) for body in bodies(server)] == requests


def test_a_message_that_is_refused_is_named_and_the_others_are_told() -> None:
    answer = receipts({"position": "e-1", "streams": 1}, {"index": 1, "error": "`event` is reserved"})
    with scripted_server(answer) as server:
        result = send(server, "--all", "-", stdin=b"a\nb\n")
    assert result.exit_code == 1
    assert result.stdout == "e-1 streams=1\n"
    assert result.stderr == "message 1: `event` is reserved\nError: 1 refused\n"


def test_a_refusal_is_exit_code_1_with_the_message_of_the_server() -> None:
    with scripted_server(Answer((b'{"message": "not you", "status": "FORBIDDEN"}',), 403, {})) as server:
        result = send(server, "--all", "x")
    assert result.exit_code == 1
    assert result.stderr == "Error: 403 Forbidden: not you\n"


def test_nobody_there_is_exit_code_1_with_a_clear_line() -> None:
    with scripted_server() as server:
        pass
    result = send(server, "--all", "x")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: no answer from {server.url}: ")
    assert "Connection refused" in result.stderr


@pytest.mark.parametrize(
    "args", [["x"], ["--user", "u", "--all", "x"], ["--channel", "c", "--session", "s", "x"], ["--all", "--json", "{x"]]
)
def test_wrong_usage_is_exit_code_2(args: list[str]) -> None:
    assert invoke("send", "--token", "t", *args).exit_code == 2

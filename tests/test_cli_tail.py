import json

import jwt
import pytest
from click.testing import Result

from cli_support import SECRET, Answer, Scripted, invoke, scripted_server
from tornado_sse.cli import follow

GONE = Answer(status=204, headers={})
STREAM = Answer((b"retry: 10\nid: e-1\n\n", b"event: order\nid: e-2\ndata: a\n\n", b"id: e-3\ndata: b\ndata: c\n\n"))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "sleep", lambda _seconds: None)


def tail(server: Scripted, *args: str, signed: bool = False) -> Result:
    given = [] if signed else ["--token", "t"]
    return invoke("tail", "--url", server.url, *given, *args, TORNADO_SSE_JWT_SECRET=SECRET)


def test_prints_events_as_name_position_data_until_the_session_is_over() -> None:
    with scripted_server(STREAM, GONE) as server:
        result = tail(server)
    assert result.exit_code == 0
    assert result.stdout == "order e-2 a\nmessage e-3 b\n    c\n"
    listening, first, second = result.stderr.splitlines()
    assert listening.startswith("listening to user tornado-sse-cli, session cli-")
    assert first.startswith("the stream ended; trying again in ")
    assert second == "the session was disconnected, and stays so"


def test_count_stops_it() -> None:
    with scripted_server(STREAM) as server:
        result = tail(server, "--count", "1")
    assert (result.exit_code, result.stdout) == (0, "order e-2 a\n")


def test_json_is_an_object_a_line() -> None:
    with scripted_server(STREAM) as server:
        result = tail(server, "--json", "--count", "2")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"name": "order", "data": "a", "id": "e-2"},
        {"name": "message", "data": "b\nc", "id": "e-3"},
    ]


def test_what_was_published_does_not_steer_the_terminal() -> None:
    with scripted_server(Answer(("event: \x1b[2J\ndata: a\x07\x9b\tb\n\n".encode(),))) as server:
        result = tail(server, "--count", "1")
    assert result.stdout == "\\x1b[2J  a\\x07\\x9b\tb\n"


def test_asks_for_the_session_the_channels_and_what_came_since() -> None:
    with scripted_server(GONE) as server:
        tail(server, "--session", "a/b", "--channel", "x", "--channel", "y", "--since", "e-7")
    (request,) = server.requests
    assert request.uri == "/sse/connect/a%2Fb?channel=x&channel=y"
    assert request.headers["Last-Event-ID"] == "e-7"
    assert request.headers["Authorization"] == "Bearer t"


def test_without_a_token_one_is_signed_for_the_session_and_its_channels() -> None:
    with scripted_server(GONE) as server:
        tail(server, "--user", "u1", "--channel", "x", signed=True)
    (request,) = server.requests
    claims = jwt.decode(request.headers["Authorization"].split()[1], SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["channels"], "scope" in claims) == ("u1", ["x"], False)
    assert request.path == f"/sse/connect/{claims['sid']}"
    assert claims["sid"].startswith("cli-")


def test_two_tails_have_two_sessions() -> None:
    with scripted_server(GONE, GONE) as server:
        tail(server)
        tail(server)
    first, second = (request.path for request in server.requests)
    assert first != second


def test_a_refusal_is_exit_code_1_with_the_message_of_the_server() -> None:
    with scripted_server(Answer((b'{"message": "not yours", "status": "FORBIDDEN"}',), 403, {})) as server:
        result = tail(server)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == ["Error: 403 Forbidden: not yours"]


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(follow, "sleep", interrupt)
    with scripted_server(STREAM) as server:
        result = tail(server)
    assert result.exit_code == 130
    assert "Abort" not in result.output


def test_without_a_secret_it_says_what_to_set() -> None:
    result = invoke("tail")
    assert result.exit_code == 2
    assert "TORNADO_SSE_JWT_SECRET" in result.stderr

import click
import httpx
import jwt
import pytest
from click.testing import CliRunner

from cli_support import SECRET, invoke
from tornado_sse.cli.client import refusal, token_source, unreachable, url_option
from tornado_sse.cli.options import Refused


def test_a_token_that_is_given_is_used_whatever_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORNADO_SSE_PORT", "nonsense")
    assert token_source("abc.def.ghi", None, None, user="u1", ttl=1)() == "abc.def.ghi"


@pytest.mark.parametrize("token", ["two words", "line\n", "é"])
def test_what_can_not_be_a_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(Refused, match="is no token") as refused:
        token_source(token, None, None, user="u1", ttl=1)
    assert token not in str(refused.value)


def test_without_one_a_fresh_token_is_signed_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 2.0])
    monkeypatch.setattr("time.time", lambda: next(times))
    source = token_source(None, None, SECRET, user="u1", ttl=60, scopes=["publish"])
    first, second = (
        jwt.decode(source(), SECRET, algorithms=["HS256"], options={"verify_exp": False}) for _ in range(2)
    )
    assert (first["sub"], first["scope"], first["iat"], first["exp"]) == ("u1", "publish", 1.0, 61.0)
    assert second["iat"] == 2.0


def test_without_a_secret_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORNADO_SSE_JWT_SECRET", raising=False)
    with pytest.raises(Refused, match="set TORNADO_SSE_JWT_SECRET, --jwt-secret or"):
        token_source(None, None, None, user="u1", ttl=1)


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (httpx.Response(403, json={"message": "no", "status": "FORBIDDEN"}), "403 Forbidden: no"),
        (httpx.Response(502, text="<html>"), "502 Bad Gateway"),
        (httpx.Response(400, json=["x"]), "400 Bad Request"),
        (httpx.Response(400, json={}), "400 Bad Request"),
        (httpx.Response(599), "599"),
    ],
)
def test_a_refusal_is_the_status_and_the_message(response: httpx.Response, text: str) -> None:
    assert refusal(response) == text


def test_an_error_without_words_is_named() -> None:
    assert unreachable("http://x", httpx.ReadTimeout("")) == "no answer from http://x: ReadTimeout"
    assert unreachable("http://x", httpx.ConnectError("refused")) == "no answer from http://x: refused"


@click.command()
@url_option
def show_url(url: str) -> None:
    click.echo(url)


def test_the_url_is_taken_without_a_slash_at_its_end() -> None:
    runner = CliRunner(env={"TORNADO_SSE_URL": None})
    assert runner.invoke(show_url, []).stdout == "http://127.0.0.1:8080\n"
    assert runner.invoke(show_url, ["--url", "https://x/base/"]).stdout == "https://x/base\n"
    assert runner.invoke(show_url, [], env={"TORNADO_SSE_URL": "http://y"}).stdout == "http://y\n"


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://x:port"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    result = invoke("send", "--all", "hi", "--url", url)
    assert result.exit_code == 2
    assert "'--url'" in result.stderr

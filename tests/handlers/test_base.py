"""What all handlers share, seen from outside and with a handler that fails."""

import json

import pytest
from structlog.testing import capture_logs
from tornado.routing import URLSpec
from tornado.web import Application

from handlers_support import Ask
from server_support import Clock, token
from tornado_sse.app import EventServer
from tornado_sse.handlers.base import BaseHandler
from tornado_sse.handlers.routes import application

APP = "https://app.example"


class Failing(BaseHandler):
    """Fails in a way that nobody foresaw, with things in hand that must not be shown."""

    def get(self, session: str) -> None:
        raise RuntimeError(f"{session} {self.request.headers.get('Authorization')}")


@pytest.fixture
def app(server: EventServer) -> Application:
    failing = URLSpec(r"/sse/disconnect/(fail[^/]*)$", Failing, {"server": server})
    return application(server, [failing, *server.routes()])


@pytest.mark.gen_test
async def test_what_nobody_foresaw_stays_in_the_log_without_its_secrets(
    ask: Ask, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = token(now=clock())
    session = "fail-a-session-id-that-must-not-be-shown"
    with capture_logs() as logs:
        response = await ask(f"/sse/disconnect/{session}", headers={"Authorization": f"Bearer {signed}"}, user=None)
    assert response.code == 500
    assert json.loads(response.body) == {
        "message": "an internal error",
        "status": "INTERNAL_SERVER_ERROR",
    }
    (entry,) = logs
    assert entry["event"] == "request failed"
    assert entry["path"].startswith("/sse/disconnect/")
    assert session not in entry["path"]
    assert isinstance(entry["exc_info"][1], RuntimeError)
    assert capsys.readouterr() == ("", "")


@pytest.mark.gen_test
async def test_every_answer_says_what_it_is_and_who_made_it_is_not_told(ask: Ask) -> None:
    for path, code in (("/healthz", 200), ("/nothing", 404), ("/sse/connect/s1", 401)):
        response = await ask(path, user=None)
        assert response.code == code
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in response.headers
        assert "Etag" not in response.headers


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD"])
@pytest.mark.gen_test
async def test_a_path_that_is_none_of_ours_is_404(ask: Ask, method: str) -> None:
    for path in ("/", "/sse", "/sse/connect/", "/sse/connect/a/b", "/healthz/", "/favicon.ico"):
        response = await ask(path, method=method)
        assert response.code == 404
        if method != "HEAD":
            assert json.loads(response.body) == {"message": "there is nothing here", "status": "NOT_FOUND"}


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/sse/publish", "GET", "POST, OPTIONS"),
        ("/sse/connect/s1", "POST", "GET, HEAD, OPTIONS"),
        ("/sse/disconnect/s1", "PUT", "DELETE, OPTIONS"),
        ("/healthz", "PATCH", "GET, HEAD, OPTIONS"),
        ("/healthz", "BREW", "GET, HEAD, OPTIONS"),
    ],
)
@pytest.mark.gen_test
async def test_another_method_is_405_and_says_which_are_allowed(ask: Ask, path: str, method: str, allowed: str) -> None:
    response = await ask(path, method=method)
    assert response.code == 405
    assert response.headers["Allow"] == allowed
    assert json.loads(response.body)["status"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer  ", "Bearer a b", "Bearer a,b", "bearer é", "Bearer " + "x" * 20_000]
)
@pytest.mark.gen_test
async def test_an_authorization_header_that_is_no_bearer_token_is_401(ask: Ask, authorization: str) -> None:
    response = await ask("/sse/send", headers={"Authorization": authorization}, user=None)
    assert response.code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("authorization", ["", "Basic dTpw", "Bearerx y"])
@pytest.mark.gen_test
async def test_another_scheme_is_no_credential(ask: Ask, server: EventServer, authorization: str) -> None:
    response = await ask("/sse/send", headers={"Authorization": authorization}, user=None)
    assert response.code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="tornado_sse"'
    assert server.stats.auth_failures == {"missing": 1}


@pytest.mark.gen_test
async def test_a_refused_request_is_counted_and_not_logged(ask: Ask, server: EventServer) -> None:
    with capture_logs() as logs:
        await ask("/sse/connect/s1", user=None)
        await ask("/sse/connect/%ff")
        await ask("/nothing")
    assert logs == []
    assert server.stats.auth_failures == {"missing": 1}


@pytest.mark.gen_test
async def test_the_first_request_starts_the_server(ask: Ask, server: EventServer) -> None:
    before = server.started
    await ask("/healthz", user=None)
    assert (before, server.started) == (False, True)
    assert (await ask("/healthz", user=None)).code == 200


@pytest.mark.parametrize("settings", [{"allowed_origins": [APP]}])
@pytest.mark.gen_test
async def test_a_preflight_of_an_allowed_origin_is_answered(ask: Ask) -> None:
    response = await ask("/sse/publish", method="OPTIONS", headers={"Origin": APP}, user=None)
    assert (response.code, response.body) == (204, b"")
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert response.headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    assert response.headers["Access-Control-Max-Age"] == "600"


@pytest.mark.gen_test
async def test_options_of_no_page_tells_the_methods_alone(ask: Ask) -> None:
    response = await ask("/sse/connect/s1", method="OPTIONS", user=None)
    assert response.code == 204
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert "Access-Control-Allow-Methods" not in response.headers


@pytest.mark.parametrize("settings", [{"allowed_origins": [APP]}])
@pytest.mark.gen_test
async def test_an_allowed_page_may_read_errors_too(ask: Ask) -> None:
    for path in ("/sse/connect/s1", "/nothing"):
        response = await ask(path, headers={"Origin": APP}, user=None)
        assert response.code in (401, 404)
        assert response.headers.get_list("Access-Control-Allow-Origin") == [APP]
        assert response.headers.get_list("Vary") == ["Origin"]


@pytest.mark.gen_test
async def test_a_page_of_a_foreign_origin_is_turned_away_first(ask: Ask) -> None:
    response = await ask("/sse/connect/s1", headers={"Origin": APP})
    assert response.code == 403
    assert json.loads(response.body)["message"] == "pages of this origin are not allowed here"

import pytest
from tornado.httputil import HTTPHeaders

from handlers_support import Ask
from tornado_sse.app import EventServer
from tornado_sse.handlers.origin import cors_headers, is_allowed, proves_origin

ALLOWED = ["https://app.example", "http://localhost:3000"]


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://app.example", True),
        ("http://localhost:3000", True),
        ("https://sse.example", True),
        ("http://sse.example", True),
        ("https://app.example.evil", False),
        ("https://evil.example", False),
        ("http://app.example", False),
        ("http://localhost", False),
        ("https://sse.example:444", False),
        ("https://APP.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
        ("sse.example", False),
        ("https://app.example https://evil.example", False),
    ],
)
def test_own_and_listed_origins_are_allowed(origin: str | None, allowed: bool) -> None:
    headers = HTTPHeaders({"Host": "SSE.example"} | ({} if origin is None else {"Origin": origin}))
    assert is_allowed(headers, ALLOWED) is allowed


@pytest.mark.parametrize("origin", ["null", "", "https://"])
def test_without_a_host_no_origin_is_our_own(origin: str) -> None:
    assert not is_allowed(HTTPHeaders({"Origin": origin}), ALLOWED)
    assert not is_allowed(HTTPHeaders({"Origin": origin, "Host": ""}), ALLOWED)


@pytest.mark.parametrize(
    ("headers", "proven"),
    [
        ({}, False),
        ({"Origin": "https://app.example"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
    ],
)
def test_a_browser_vouches_for_the_page(headers: dict[str, str], proven: bool) -> None:
    assert proves_origin(HTTPHeaders(headers), ALLOWED) is proven


def test_cors_names_the_very_origin() -> None:
    headers = HTTPHeaders({"Origin": "https://app.example"})
    assert dict(cors_headers(headers, ALLOWED)) == {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": "https://app.example",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After, WWW-Authenticate",
    }


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://sse.example", "Host": "sse.example"}])
def test_where_no_other_origin_asks_only_the_variance_is_told(headers: dict[str, str]) -> None:
    assert dict(cors_headers(HTTPHeaders(headers), ALLOWED)) == {"Vary": "Origin"}
    assert dict(cors_headers(HTTPHeaders(headers), [])) == {}


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://["])
@pytest.mark.parametrize("settings", [{"allowed_origins": ALLOWED}, {}])
@pytest.mark.gen_test
async def test_a_page_of_a_foreign_origin_is_403_whatever_it_asks(ask: Ask, server: EventServer, origin: str) -> None:
    for method, path in (("GET", "/sse/connect/s1"), ("OPTIONS", "/sse/publish"), ("GET", "/sse/send")):
        response = await ask(path, method=method, headers={"Origin": origin})
        assert response.code == 403
        assert b'"status":"FORBIDDEN"' in response.body
        assert "Access-Control-Allow-Origin" not in response.headers
    assert server.stats.auth_failures == {"origin": 3}

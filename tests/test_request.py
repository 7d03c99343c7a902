"""Lean requests: Tornado's own, made of the same head, have the same attributes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPInputError, HTTPServerRequest, RequestStartLine

from tornado_sse.connection import Context
from tornado_sse.request import lean_request


class Connected(HTTPConnection):
    context = Context(("192.0.2.1", 1))


CONNECTION = Connected()

hosts = st.sampled_from(["a", "A.example:80", "[::1]", "[::1]:8080", "127.0.0.1:1", "a:", "a,b", "a/b", ""]) | st.text(
    "aZ09.-_~:[]%,/ ", max_size=8
)
targets = st.sampled_from(["/", "/a%20b", "/a?", "/a?b=c", "//a"])


def both(target: str, headers: dict[str, str]) -> tuple[HTTPServerRequest | None, HTTPServerRequest]:
    line = RequestStartLine("GET", target, "HTTP/1.1")
    theirs = HTTPServerRequest(
        start_line=line, headers=HTTPHeaders(headers), connection=CONNECTION, server_connection="door"
    )
    return lean_request(line, HTTPHeaders(headers), CONNECTION, "door"), theirs


def attributes(request: HTTPServerRequest) -> dict[str, Any]:
    found = dict(vars(request))
    assert abs(found.pop("_start_time") - request._start_time) < 1
    found["headers"] = sorted(request.headers.get_all())
    return found


@given(hosts, targets)
def test_a_lean_request_is_what_tornado_makes_of_it(host: str, target: str) -> None:
    try:
        lean, theirs = both(target, {"Host": host})
    except HTTPInputError:
        assert (
            lean_request(RequestStartLine("GET", target, "HTTP/1.1"), HTTPHeaders({"Host": host}), CONNECTION, 1)
            is None
        )
        return
    if lean is not None:
        assert attributes(lean) == attributes(theirs)
        assert (lean.full_url(), lean.cookies) == (theirs.full_url(), theirs.cookies)
        assert lean.request_time() >= 0


@pytest.mark.parametrize("host", ["a", "A.example:80", "[::1]:8080"])
def test_usual_requests_are_lean(host: str) -> None:
    assert both("/sse/connect/s1", {"Host": host})[0] is not None


@pytest.mark.parametrize(("target", "host"), [("/a?b", "a"), ("/a", "a_b"), ("/a", "a:")])
def test_what_tornado_has_to_look_at_is_left_to_it(target: str, host: str) -> None:
    assert both(target, {"Host": host})[0] is None


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "application/json"])
def test_a_body_is_read_as_tornado_reads_it(kind: str | None) -> None:
    lean, theirs = both("/a", {"Host": "a"} | ({"Content-Type": kind} if kind else {}))
    assert lean is not None
    for request in (lean, theirs):
        request.body = b"a=1&b=2"
        request._parse_body()
    assert lean.arguments == theirs.arguments
    assert lean.body_arguments == theirs.body_arguments

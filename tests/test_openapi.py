"""The OpenAPI document: valid, complete, and true of the real handlers."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus

import httpx
import hypothesis
import msgspec
import pytest
from openapi_spec_validator import validate
from tornado.web import RequestHandler

from openapi_support import (
    DOCUMENT,
    LIVE,
    NDJSON,
    SETTINGS,
    Case,
    ErrorBody,
    check_answer,
    credentials,
    open_session,
    operations,
    schema,
    whole,
)
from server_support import serving_in_thread
from tornado_sse import __version__
from tornado_sse.errors import status_name
from tornado_sse.handlers.routes import PUBLIC
from tornado_sse.openapi.document import EXTENSION

SCHEMA = schema(deterministic=True)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving_in_thread(**SETTINGS) as node, open_session(node.url):
        yield node.url


def test_it_is_valid() -> None:
    validate(DOCUMENT)
    validate(whole())


def test_it_covers_every_route_and_method() -> None:
    documented = {path: set(item) for path, item in DOCUMENT["paths"].items()}
    implemented = {}
    for pattern, handler in PUBLIC.items():
        (path,) = [path for path in documented if re.fullmatch(pattern, re.sub(r"{\w+}", "x", path))]
        implemented[path] = {
            method.lower()
            for method in RequestHandler.SUPPORTED_METHODS
            if getattr(handler, method.lower()) is not getattr(RequestHandler, method.lower())
        } - {"head", "options"}
    assert implemented == documented


def test_every_error_is_described_by_one_schema() -> None:
    for path, method, operation in operations(whole()):
        for status, answer in operation["responses"].items():
            if status >= "400" and method != "head":
                content = answer["content"]["application/json"]
                assert content["schema"] == {"$ref": "#/components/schemas/QuiikaErrorResponse"}, (path, status)
                assert msgspec.convert(content["example"], ErrorBody).status == status_name(HTTPStatus(int(status)))


def test_the_version_is_the_package_s() -> None:
    assert DOCUMENT["info"]["version"] == __version__


def test_bounds_are_those_of_the_code() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Message"]["properties"]["ttl"]["anyOf"][0]["maximum"] == 31_536_000
    assert schemas["SessionRequest"]["properties"]["channels"]["maxItems"] == 256
    assert schemas["Target"]["anyOf"][1]["properties"]["session"]["maxLength"] == 1024


def test_events_carry_the_reasons_of_the_code() -> None:
    events = DOCUMENT["paths"]["/sse/connect/{sessionId}"]["get"][EXTENSION]["events"]
    assert list(events) == ["stream-opened", "stream-gap", "stream-expiring", "stream-closing"]
    assert events["stream-gap"]["properties"]["reason"]["enum"] == ["evicted", "epoch", "unknown", "slow"]
    assert "client_gone" not in events["stream-closing"]["properties"]["reason"]["enum"]


def test_it_is_served(base_url: str) -> None:
    answer = httpx.get(f"{base_url}/openapi.json")
    assert answer.json() == DOCUMENT
    assert answer.headers["Content-Type"] == "application/json"
    head = httpx.head(f"{base_url}/openapi.json")
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(answer.content)))


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/sse/publish", "application/json"), ("/sse/publish", NDJSON), ("/sse/sessions", "application/json")],
)
def test_its_examples_work(base_url: str, path: str, media_type: str) -> None:
    example = DOCUMENT["paths"][path]["post"]["requestBody"]["content"][media_type]["example"]
    body = example if isinstance(example, str) else json.dumps(example)
    headers = credentials() | {"Content-Type": media_type}
    answer = httpx.post(base_url + path, content=body, headers=headers)
    assert answer.is_success
    assert "error" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "model"),
    [
        ("GET", "/sse/send?userId=u1&message=hello", "QuiikaResponse"),
        ("POST", f"/sse/sessions/{LIVE}/refresh", "Refreshed"),
        ("GET", "/healthz", "Health"),
    ],
)
def test_its_models_are_what_comes(base_url: str, method: str, path: str, model: str) -> None:
    answer = httpx.request(method, base_url + path, headers=credentials())
    schema = DOCUMENT["components"]["schemas"][model]
    assert answer.status_code == HTTPStatus.OK
    assert set(schema["required"]) <= set(answer.json()) <= set(schema["properties"])


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/sse/send?message=hello"),
        ("GET", "/sse/send?userId=&message=hello"),
        ("GET", "/sse/send?userId=u%17&message=hello"),
        ("GET", f"/sse/send?userId={'u' * 257}&message=hello"),
        ("HEAD", "/sse/connect/tab-1?channel="),
        ("HEAD", "/sse/connect/tab-1?channel=news%00"),
        ("HEAD", "/sse/connect/tab-1?channel=news.*"),
        ("HEAD", f"/sse/connect/tab-1?channel={'c' * 257}"),
    ],
)
def test_its_bounds_are_kept(base_url: str, method: str, target: str) -> None:
    answer = httpx.request(method, base_url + target, headers=credentials())
    assert answer.status_code == HTTPStatus.BAD_REQUEST


@pytest.mark.slow
@SCHEMA.parametrize()
@hypothesis.settings(max_examples=20, derandomize=True, deadline=None, database=None)
def test_the_handlers_do_as_it_says(case: Case, base_url: str) -> None:
    check_answer(case, base_url)

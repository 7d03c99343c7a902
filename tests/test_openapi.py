"""The OpenAPI document: valid, complete, and true of the real handlers."""

import copy
import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any

import httpx
import hypothesis
import msgspec
import pytest
import schemathesis
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance
from tornado.web import RequestHandler

from server_support import SECRET, bearer, serving_in_thread
from tornado_sse import __version__, openapi
from tornado_sse.auth import Scope
from tornado_sse.errors import status_name
from tornado_sse.handlers.routes import PUBLIC
from tornado_sse.handlers.sessions import SessionRequest
from tornado_sse.minting import MINTED_CHARS, Minter, valid_session_id

LIVE = "a-session-with-an-open-stream"
SESSION_TTL = 3600
NDJSON = "application/x-ndjson"
Case = schemathesis.Case[Any]
DOCUMENT = openapi.document(SessionRequest)


class ErrorBody(msgspec.Struct, forbid_unknown_fields=True):
    message: Annotated[str, msgspec.Meta(min_length=1)]
    status: Annotated[str, msgspec.Meta(pattern="^[A-Z_]+$")]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def whole() -> dict[str, Any]:
    """Give the document with what stands in the extension read as the operations' own, and HEAD beside GET."""
    document = copy.deepcopy(DOCUMENT)
    for path, _, operation in list(operations(document)):
        more = operation.pop(openapi.EXTENSION, {})
        operation["parameters"] = operation.get("parameters", []) + more.get("parameters", [])
        operation["responses"] |= more.get("responses", {})
        if "HEAD" in more.get("methods", []):
            head = copy.deepcopy(operation) | {"operationId": operation["operationId"] + "Head"}
            for answer in head["responses"].values():
                answer.pop("content", None)
            document["paths"][path]["head"] = head
    # What only a running server knows: its `session_ttl`.
    document["components"]["schemas"]["SessionRequest"]["properties"]["ttl"]["anyOf"][0]["maximum"] = SESSION_TTL
    # Generated as an array, so that most lines are messages; `as_lines` writes it.
    publishing = document["paths"]["/sse/publish"]["post"]["requestBody"]["content"]
    publishing[NDJSON] = {"schema": publishing["application/json"]["schema"]["anyOf"][1]}
    return document


@schemathesis.serializer(NDJSON)
def as_lines(_: schemathesis.SerializationContext, value: object) -> bytes:
    return "\n".join(json.dumps(line) for line in (value if isinstance(value, list) else [value])).encode()


CONFIG = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False, "deterministic": True}})
SCHEMA = schemathesis.openapi.from_dict(whole(), config=CONFIG)


@SCHEMA.hook
def map_case(_: schemathesis.HookContext, case: Case) -> Case:
    """Put a session that exists in the place of any valid id, where only such a one is answered 200."""
    if valid_session_id(str(case.path_parameters.get("sessionId", ""))):
        if case.method == "POST":
            case.path_parameters["sessionId"] = LIVE
        elif case.method == "DELETE":
            case.path_parameters["sessionId"] = Minter(SECRET).mint("u1", 60).session_id
    return case


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with (
        serving_in_thread(session_ttl=SESSION_TTL, max_channels=1000) as node,
        httpx.stream("GET", f"{node.url}/sse/connect/{LIVE}", headers=credentials()) as live,
    ):
        assert live.status_code == HTTPStatus.OK
        yield node.url


def credentials() -> dict[str, str]:
    return bearer(scopes=[scope.value for scope in Scope])


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
    events = DOCUMENT["paths"]["/sse/connect/{sessionId}"]["get"][openapi.EXTENSION]["events"]
    assert list(events) == ["stream-gap", "stream-expiring", "stream-closing"]
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
    # An answer of 200 to this GET has no end. HEAD goes the same way up to there, with credentials.
    opens_a_stream = case.operation.label == "GET /sse/connect/{sessionId}"
    headers = {} if opens_a_stream else credentials()
    answer = case.call_and_validate(base_url=base_url, headers=headers, excluded_checks=not_by_status(case), timeout=5)
    if answer.status_code >= HTTPStatus.BAD_REQUEST and answer.content:
        assert msgspec.json.decode(answer.content, type=ErrorBody).status == HTTPStatus(answer.status_code).name
    if is_batch(case) and answer.status_code == HTTPStatus.OK:
        assert case.meta is not None
        assert any("error" in row for row in answer.json()["receipts"]) is case.meta.generation.mode.is_negative


def not_by_status(case: Case) -> list[Any]:
    """Name the checks that don't hold for a case, because its good or bad data is not told by the status."""
    if is_batch(case):
        return [negative_data_rejection]  # a bad message is told in its row
    if case.operation.label == "POST /sse/sessions" and len(str(case.body)) > MINTED_CHARS / 2:
        return [positive_data_acceptance]  # each part may be good, but all together too long for an id
    if case.method == "DELETE":
        return [ignored_auth]  # a minted session id is a credential by itself
    return []


def is_batch(case: Case) -> bool:
    return case.operation.label == "POST /sse/publish" and (isinstance(case.body, list) or case.media_type == NDJSON)

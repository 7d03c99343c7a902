"""The real handlers held against the OpenAPI document, with requests that schemathesis makes of it."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any

import httpx
import msgspec
import schemathesis
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from server_support import SECRET, bearer
from tornado_sse.auth import Scope
from tornado_sse.handlers.sessions import SessionRequest
from tornado_sse.minting import MINTED_CHARS, Minter, valid_session_id
from tornado_sse.openapi.document import EXTENSION, document

LIVE = "a-session-with-an-open-stream"
SESSION_TTL = 3600
SETTINGS = {"session_ttl": SESSION_TTL, "max_channels": 1000}
"""What a server that is held against it is to have."""

NDJSON = "application/x-ndjson"
Case = schemathesis.Case[Any]
DOCUMENT = document(SessionRequest)


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
        more = operation.pop(EXTENSION, {})
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


def schema(*, deterministic: bool) -> OpenApiSchema:
    """Make what requests are made of; deterministic: the same ones each time."""
    generation = {"with-security-parameters": False, "deterministic": deterministic}
    made = schemathesis.openapi.from_dict(whole(), config=schemathesis.Config.from_dict({"generation": generation}))
    made.hook("map_case")(_with_a_session)
    return made


def _with_a_session(_: schemathesis.HookContext, case: Case) -> Case:
    """Put a session that exists in the place of any valid id, where only such a one is answered 200."""
    if valid_session_id(str(case.path_parameters.get("sessionId", ""))):
        if case.method == "POST":
            case.path_parameters["sessionId"] = LIVE
        elif case.method == "DELETE":
            case.path_parameters["sessionId"] = Minter(SECRET).mint("u1", 60).session_id
    return case


def credentials() -> dict[str, str]:
    return bearer(scopes=[scope.value for scope in Scope])


@contextmanager
def open_session(url: str) -> Iterator[None]:
    """Have a stream open for those requests that want one."""
    with httpx.stream("GET", f"{url}/sse/connect/{LIVE}", headers=credentials()) as live:
        assert live.status_code == HTTPStatus.OK
        yield


def check_answer(case: Case, base_url: str) -> None:
    """Make a request and hold the answer against the document."""
    # An answer of 200 to this GET has no end. HEAD goes the same way up to there, with credentials.
    opens_a_stream = case.operation.label == "GET /sse/connect/{sessionId}"
    headers = {} if opens_a_stream else credentials()
    answer = case.call_and_validate(base_url=base_url, headers=headers, excluded_checks=not_by_status(case), timeout=20)
    if answer.status_code >= HTTPStatus.BAD_REQUEST and answer.content:
        assert msgspec.json.decode(answer.content, type=ErrorBody).status == HTTPStatus(answer.status_code).name
    if is_batch(case) and answer.status_code == HTTPStatus.OK:
        assert case.meta is not None
        assert any("error" in row for row in answer.json()["receipts"]) is case.meta.generation.mode.is_negative


def not_by_status(case: Case) -> list[Any]:
    """Name the checks that don't hold for a case, because its good or bad data is not told by the status."""
    if is_batch(case):
        return [negative_data_rejection]  # a bad message is told in its row
    if case.operation.label == "POST /sse/sessions" and len(json.dumps(case.body, default=str)) > MINTED_CHARS / 2:
        return [positive_data_acceptance]  # each part may be good, but all together too long for an id
    if case.method == "DELETE":
        return [ignored_auth]  # a minted session id is a credential by itself
    return []


def is_batch(case: Case) -> bool:
    return case.operation.label == "POST /sse/publish" and (isinstance(case.body, list) or case.media_type == NDJSON)

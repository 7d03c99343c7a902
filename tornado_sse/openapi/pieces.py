"""The pieces that the document is put together from: parameters, bodies, answers, and small schemas."""

from http import HTTPStatus
from typing import Any

import msgspec

from tornado_sse import topic
from tornado_sse.errors import status_name
from tornado_sse.event import RESERVED_PREFIX

Json = dict[str, Any]

NAME = r"^[^\u0000-\u001f\u007f-\u009f]+$"
CHANNEL = r"^[^\u0000-\u001f\u007f-\u009f*]+$"
EVENT_NAME = rf"^(?!{RESERVED_PREFIX})[^\r\n\u0000]+$"
SESSION_ID = r"^[A-Za-z0-9._~-]+$"
POSITION = "k3f9x2-42"
EXPIRES_AT = 1767225600

_ERRORS = {
    400: ("The request can't be understood; `message` says why", "`to.user` must not be empty"),
    401: ("No credentials, or not good ones", "the token has expired"),
    403: ("The token does not allow it, or a page of a foreign origin asks", "the token lacks the scope publish"),
    404: ("The session has no open stream", "the session has no open stream"),
    413: ("The body is above `max_body_bytes`", "the body is above 8388608 bytes"),
    415: (
        "The body is neither JSON nor NDJSON, or encoded",
        "Content-Type must be one of application/json, application/x-ndjson",
    ),
    429: ("The user or the address has as many streams as allowed", "this user has as many streams as allowed"),
    501: ("There is no secret to sign session ids with", "set session_secret (or jwt_secret) to mint session ids"),
    503: ("Not now; again after `Retry-After`", "no new streams now: draining"),
}
_HEADERS = {
    401: ("WWW-Authenticate", True, "What is wanted or wrong, as RFC 6750 section 3 says"),
    403: ("WWW-Authenticate", False, "Where a scope lacks: `insufficient_scope`, and which (RFC 6750 section 3)"),
    415: ("Accept-Encoding", False, "Where the body is encoded: `identity`, as it should come"),
    429: ("Retry-After", True, "Seconds until it makes sense to ask again"),
    503: ("Retry-After", True, "Seconds until it makes sense to ask again"),
}


def of_struct(struct: type[msgspec.Struct]) -> Json:
    """Describe a struct as it is decoded."""
    _, components = msgspec.json.schema_components([struct])
    schema: Json = components[struct.__name__]
    return {name: value for name, value in schema.items() if name not in ("title", "description")}


def ref(name: str) -> Json:
    """Refer to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def struct(properties: Json, optional: tuple[str, ...] = ()) -> Json:
    """Describe an object of just these properties."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def nullable(schema: Json) -> Json:
    """Allow null as well."""
    return {"anyOf": [schema, {"type": "null"}]}


def limited(longest: int, pattern: str = NAME) -> Json:
    """Describe a string of 1 to `longest` characters."""
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern}


def required(name: str, place: str, description: str, schema: Json) -> Json:
    """Describe a parameter that must be there."""
    return optional(name, place, description, schema) | {"required": True}


def optional(name: str, place: str, description: str, schema: Json) -> Json:
    """Describe a parameter."""
    return {"name": name, "in": place, "description": description, "schema": schema}


def body(content: Json) -> Json:
    """Describe a request's body."""
    return {"required": True, "content": content}


def session_id(description: str) -> Json:
    """Describe the session id in the path."""
    return required("sessionId", "path", description, limited(topic.MAX_SESSION, SESSION_ID))


def json_answer(description: str, schema: str, **rest: object) -> Json:
    """Describe an answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": ref(schema), **rest}}}


def errors(*statuses: int) -> Json:
    """Describe the error answers of these statuses."""
    return {str(status): refused(status, _ERRORS[status][0]) | _headers(status) for status in statuses}


def refused(status: int, description: str, message: str = "") -> Json:
    """Describe one of them."""
    example = {"message": message or _ERRORS[status][1], "status": status_name(HTTPStatus(status))}
    return json_answer(description, "QuiikaErrorResponse", example=example)


def _headers(status: int) -> Json:
    if status not in _HEADERS:
        return {}
    name, required, description = _HEADERS[status]
    return {"headers": {name: {"required": required, "description": description, "schema": {"type": "string"}}}}

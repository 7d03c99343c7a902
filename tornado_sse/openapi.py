"""The OpenAPI 3.1 document of the public operations, as plain data.

Three operations (tag `Server-Sent Events`) are a contract that SDKs are generated from: their parameters and answers
are just what was agreed. What else they take and answer stands beside them in `x-tornado-sse`, in OpenAPI's own terms:
`credentials` in the order in which they count, or the `scope` that a bearer token needs; other `methods` that the path
answers; `parameters` and `responses` to be read as if they were the operation's own (a status that stands in both is
described more closely here); and for each of the `events` that the server itself sends, the JSON Schema of its data.
"""

from http import HTTPStatus
from typing import Any

import msgspec

from tornado_sse import __version__, topic
from tornado_sse.auth import CHANNEL_CHARS, TOKEN_CHANNELS, Scope
from tornado_sse.errors import status_name
from tornado_sse.event import MAX_EVENT_NAME, RESERVED_PREFIX
from tornado_sse.minting import MINTED_CHARS
from tornado_sse.notices import CloseReason, GapReason
from tornado_sse.publishing import Item

Json = dict[str, Any]

CONTRACT_TAG = "Server-Sent Events"
EXTENSION = "x-tornado-sse"

_NAME = r"^[^\u0000-\u001f\u007f-\u009f]+$"
_CHANNEL = r"^[^\u0000-\u001f\u007f-\u009f*]+$"
_EVENT_NAME = rf"^(?!{RESERVED_PREFIX})[^\r\n\u0000]+$"
_SESSION_ID = r"^[A-Za-z0-9._~-]+$"
_POSITION = "k3f9x2-42"
_EXPIRES_AT = 1767225600

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


def document(session_request: type[msgspec.Struct]) -> Json:
    """Build the document. `session_request` is what the body of a request for a minted session id is decoded to."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tornado_sse",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Event streams (Server-Sent Events) for users, sessions and channels. Every error is a "
            "QuiikaErrorResponse. Any operation answers 403 to a page whose Origin is not allowed.",
        },
        "servers": [{"url": "http://localhost:8080"}],
        "tags": [
            {"name": CONTRACT_TAG, "description": "Streams, and a way to try them"},
            {"name": "Publishing", "description": "For backends"},
            {"name": "Sessions", "description": "Session ids for pages that can't send headers; longer streams"},
            {"name": "Service", "description": "The server itself"},
        ],
        "paths": {
            "/sse/connect/{sessionId}": {"get": _connect()},
            "/sse/disconnect/{sessionId}": {"delete": _disconnect()},
            "/sse/send": {"get": _send()},
            "/sse/publish": {"post": _publish()},
            "/sse/sessions": {"post": _mint()},
            "/sse/sessions/{sessionId}/refresh": {"post": _refresh()},
            "/openapi.json": {"get": _describe()},
            "/healthz": {"get": _health()},
        },
        "components": {
            "securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": _schemas(session_request),
        },
    }


def _connect() -> Json:
    return _operation(
        CONTRACT_TAG,
        "connect",
        "Subscribe to an event stream",
        "Establishes a Server-Sent Events (SSE) connection for a given session ID to receive real-time updates.",
        parameters=[_session_id("The session ID to connect with")],
        responses={
            "200": {
                "description": "SSE connection established successfully. The response body will be a stream of events.",
                "content": {"text/event-stream": {}},
            },
            "401": _refused(401, "Unauthorized if the session is invalid or not authenticated"),
        },
        more={
            "methods": ["HEAD"],
            "credentials": _credentials(),
            "parameters": _resume_parameters(),
            "responses": {
                "204": {"description": "The session was disconnected on purpose: EventSource stops reconnecting"},
                **_errors(400, 401, 403, 429, 503),
                "501": _refused(501, "TLS ends in this process", "streams want a proxy in front that ends TLS"),
            },
            "events": _events(),
        },
    )


def _disconnect() -> Json:
    return _operation(
        CONTRACT_TAG,
        "disconnect",
        "Disconnect SSE connection",
        "Removes the Server-Sent Events (SSE) connection for the given session ID and cleans up resources.",
        parameters=[_session_id("The session ID to disconnect")],
        responses={
            "200": {"description": "SSE connection disconnected successfully"},
            "401": _refused(401, "Unauthorized if the session is invalid or not authenticated"),
            "404": _refused(404, "Session not found", "there is no such session"),
        },
        more={"credentials": _credentials(), "responses": _errors(400, 401, 403, 503)},
    )


def _send() -> Json:
    return _operation(
        CONTRACT_TAG,
        "sendMessageToUser",
        "Send a message to a user (For internal testing)",
        "Sends a message to a specific user via SSE. "
        "This endpoint is intended for internal testing and debugging purposes.",
        parameters=[
            _required("userId", "query", "The ID of the user to send the message to", _text(topic.MAX_NAME)),
            _required("message", "query", "The message content", {"type": "string"}),
        ],
        responses={"200": _json("Message sent successfully", "QuiikaResponse")},
        more={"scope": Scope.PUBLISH.value, "responses": _errors(400, 401, 403, 503)},
    )


def _publish() -> Json:
    order = {"to": {"user": "u1"}, "event": "order", "data": {"id": 7}, "idempotencyKey": "order-7-shipped"}
    lines = '{"to":{"user":"u1"},"data":"one"}\n{"to":"all","data":{"two":2}}\n'
    one_or_more = {"anyOf": [_ref("Message"), {"type": "array", "items": _ref("Message"), "minItems": 1}]}
    return _operation(
        "Publishing",
        "publish",
        "Publish messages",
        "Takes one message, an array, or NDJSON (one message a line; application/ndjson and application/jsonl are "
        "understood as well), and answers one receipt for each. A bad message of an array or of NDJSON is reported in "
        "its place, and the good ones still go; one bad message alone is a 400. At most `max_batch_items` messages. "
        f"Needs the scope {Scope.PUBLISH}.",
        requestBody=_body(
            {
                "application/json": {"schema": one_or_more, "example": order},
                "application/x-ndjson": {"schema": {"type": "string"}, "example": lines},
            }
        ),
        responses={"200": _json("Published", "Receipts"), **_errors(400, 401, 403, 413, 415, 503)},
    )


def _mint() -> Json:
    example = {"userId": "u1", "channels": ["news", "room.*"], "ttl": 600}
    return _operation(
        "Sessions",
        "mintSession",
        "Mint a signed session id for a user",
        f"With it a native EventSource connects by nothing but its URL. Needs the scope {Scope.SESSIONS}.",
        requestBody=_body({"application/json": {"schema": _ref("SessionRequest"), "example": example}}),
        responses={"201": _json("Minted", "MintedSession"), **_errors(400, 401, 403, 413, 415, 501, 503)},
    )


def _refresh() -> Json:
    return _operation(
        "Sessions",
        "refreshSession",
        "Lengthen a session's open streams with a fresh token",
        "They end when the new bearer token does, never earlier than they would have. With several nodes all are told.",
        parameters=[_session_id("The session whose streams go on")],
        responses={
            "200": _json("They go on", "Refreshed"),
            "202": _json("They go on, if there are any; they would be on another node", "Refreshed"),
            **_errors(400, 401, 403, 404, 503),
        },
    )


def _describe() -> Json:
    content = {"application/json": {"schema": {"type": "object"}}}
    return _operation(
        "Service",
        "getDocument",
        "Get this document",
        "Describes all public operations.",
        security=[],
        responses={"200": {"description": "An OpenAPI document", "content": content}, **_errors(403)},
    )


def _health() -> Json:
    return _operation(
        "Service",
        "getHealth",
        "See whether the process answers",
        "Depends on nothing else.",
        security=[],
        responses={"200": _json("It does", "Health"), **_errors(403)},
    )


def _operation(
    tag: str, name: str, summary: str, description: str, *, more: Json | None = None, **rest: object
) -> Json:
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "description": description,
        "security": [{"bearerAuth": []}],
        **rest,
        **({EXTENSION: more} if more else {}),
    }


def _credentials() -> list[Json]:
    return [
        {"in": "header", "name": "Authorization", "description": "A bearer token with the scope subscribe"},
        {"in": "path", "name": "sessionId", "description": "A minted session id needs no other credential"},
        {
            "in": "cookie",
            "name": "__Host-sse",
            "description": "A token (`session_cookie`), from a page of an allowed origin",
        },
        {"in": "query", "name": "access_token", "description": "A token, only if `query_token` is switched on"},
    ]


def _resume_parameters() -> list[Json]:
    channels = {"type": "array", "items": _text(topic.MAX_NAME, _CHANNEL)}
    text = {"type": "string"}
    texts = {"type": "array", "items": text}
    return [
        _optional("channel", "query", "A channel to listen to, once for each; at most `max_channels`", channels),
        _optional("Last-Event-ID", "header", "The position to resume after; if it is none, that is a gap", text),
        _optional("lastEventId", "query", "The same, where headers can't be sent; the header is stronger", text),
        _optional("fresh", "query", "One of the channels, to begin now though the others are resumed", texts),
        _optional("labels", "query", "`true`: each message names the channels that it came through", text),
    ]


def _events() -> Json:
    position = {"type": "string", "examples": [_POSITION]}
    gap_reason = {"enum": [reason.value for reason in GapReason]}
    close_reason = {"enum": [reason.value for reason in CloseReason if reason.ours]}
    return {
        "stream-opened": _struct({"channels": {"type": "array", "items": {"type": "string"}}, "now": position}),
        "stream-gap": _struct({"from": _nullable(position), "to": position, "reason": gap_reason}),
        "stream-expiring": _struct({"expiresIn": {"type": "integer", "description": "Seconds"}}),
        "stream-closing": _struct({"reason": close_reason, "reconnect": {"type": "boolean"}}),
    }


def _schemas(session_request: type[msgspec.Struct]) -> Json:
    seconds = {"type": "integer", "description": "Unix time in seconds", "examples": [_EXPIRES_AT]}
    text: Json = {"type": "string"}
    return {
        "QuiikaResponse": _struct({"message": text, "accessKey": text}, optional=("accessKey",)),
        "QuiikaErrorResponse": _struct({"message": text, "status": {"type": "string", "pattern": "^[A-Z_]+$"}}),
        "Target": _target(),
        "Targets": {
            "anyOf": [_ref("Target"), {"type": "array", "items": _ref("Target"), "minItems": 1}],
            "description": "Where a message goes; a stream that several of a list concern gets it once",
        },
        "Message": _message(),
        "Receipt": _struct(
            {
                "index": {"type": "integer", "minimum": 0},
                "position": {"type": "string", "examples": [_POSITION]},
                "streams": {"type": "integer", "minimum": 0, "description": "Open streams of this node it goes to"},
                "duplicate": {"type": "boolean", "description": "Its idempotencyKey was known; it was not sent again"},
            }
        ),
        "Refusal": _struct({"index": {"type": "integer", "minimum": 0}, "error": text}),
        "Receipts": _struct(
            {"receipts": {"type": "array", "items": {"anyOf": [_ref("Receipt"), _ref("Refusal")]}, "minItems": 1}}
        ),
        "SessionRequest": _session_request(session_request),
        "MintedSession": _struct({"sessionId": text, "userId": text, "expiresAt": seconds}),
        "Refreshed": _struct({"expiresAt": seconds}),
        "Health": _struct({"status": {"const": "ok"}}),
    }


def _target() -> Json:
    named = _text(topic.MAX_NAME)
    session = _text(topic.MAX_SESSION)
    return {
        "anyOf": [
            {"const": "all"},
            _struct({"user": named, "session": session}, optional=("session",)),
            _struct({"channel": _text(topic.MAX_NAME, _CHANNEL)}),
        ],
        "description": "Every stream of a user, of one session of a user, of a channel, or of all",
    }


def _message() -> Json:
    schema = _of(Item)
    named: Json = schema["properties"]
    named["to"] = _ref("Targets")
    named["data"]["description"] = (
        "Any JSON; a string goes as it is, anything else as JSON; at most `max_message_bytes`"
    )
    named["event"]["anyOf"][0] |= _text(MAX_EVENT_NAME, _EVENT_NAME)
    named["idempotencyKey"]["description"] = "A message with the same key within `idempotency_window` is not sent again"
    named["ttl"]["description"] = "Seconds that it may be replayed; null: as long as history holds it; 0: never"
    named["key"]["description"] = "For `slow_policy` conflate: a slow stream gets the newest message of each key"
    return schema


def _session_request(session_request: type[msgspec.Struct]) -> Json:
    schema = _of(session_request)
    named = schema["properties"]
    named["userId"] |= _text(topic.MAX_NAME)
    named["channels"] |= {"items": _text(CHANNEL_CHARS), "maxItems": TOKEN_CHANNELS}
    named["channels"]["description"] = "Names, or patterns with *, of channels that the session may listen to"
    named["ttl"]["description"] = "Seconds that it is good for; null: `session_ttl`, which is also the most"
    schema["description"] = f"Together so short that the session id has at most {MINTED_CHARS} characters"
    return schema


def _of(struct: type[msgspec.Struct]) -> Json:
    _, components = msgspec.json.schema_components([struct])
    schema: Json = components[struct.__name__]
    return {name: value for name, value in schema.items() if name not in ("title", "description")}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _struct(properties: Json, optional: tuple[str, ...] = ()) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _text(longest: int, pattern: str = _NAME) -> Json:
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern}


def _required(name: str, place: str, description: str, schema: Json) -> Json:
    return _optional(name, place, description, schema) | {"required": True}


def _optional(name: str, place: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": place, "description": description, "schema": schema}


def _body(content: Json) -> Json:
    return {"required": True, "content": content}


def _session_id(description: str) -> Json:
    return _required("sessionId", "path", description, _text(topic.MAX_SESSION, _SESSION_ID))


def _json(description: str, schema: str, **rest: object) -> Json:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema), **rest}}}


def _errors(*statuses: int) -> Json:
    return {str(status): _refused(status, _ERRORS[status][0]) | _headers(status) for status in statuses}


def _refused(status: int, description: str, message: str = "") -> Json:
    example = {"message": message or _ERRORS[status][1], "status": status_name(HTTPStatus(status))}
    return _json(description, "QuiikaErrorResponse", example=example)


def _headers(status: int) -> Json:
    if status not in _HEADERS:
        return {}
    name, required, description = _HEADERS[status]
    return {"headers": {name: {"required": required, "description": description, "schema": {"type": "string"}}}}

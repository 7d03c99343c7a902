"""The OpenAPI 3.1 document of the public operations, as plain data.

Three operations (tag `Server-Sent Events`) are a contract that SDKs are generated from: their parameters and answers
are just what was agreed. What else they take and answer stands beside them in `x-tornado-sse`, in OpenAPI's own terms:
`credentials` in the order in which they count, or the `scope` that a bearer token needs; other `methods` that the path
answers; `parameters` and `responses` to be read as if they were the operation's own (a status that stands in both is
described more closely here); and for each of the `events` that the server itself sends, the JSON Schema of its data.
"""

import msgspec

from tornado_sse import __version__, topic
from tornado_sse.auth import Scope
from tornado_sse.notices import CloseReason, GapReason
from tornado_sse.openapi.pieces import (
    CHANNEL,
    POSITION,
    Json,
    body,
    errors,
    json_answer,
    limited,
    nullable,
    optional,
    ref,
    refused,
    required,
    session_id,
    struct,
)
from tornado_sse.openapi.schemas import schemas

CONTRACT_TAG = "Server-Sent Events"
EXTENSION = "x-tornado-sse"


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
            "schemas": schemas(session_request),
        },
    }


def _connect() -> Json:
    return _operation(
        CONTRACT_TAG,
        "connect",
        "Subscribe to an event stream",
        "Establishes a Server-Sent Events (SSE) connection for a given session ID to receive real-time updates.",
        parameters=[session_id("The session ID to connect with")],
        responses={
            "200": {
                "description": "SSE connection established successfully. The response body will be a stream of events.",
                "content": {"text/event-stream": {}},
            },
            "401": refused(401, "Unauthorized if the session is invalid or not authenticated"),
        },
        more={
            "methods": ["HEAD"],
            "credentials": _credentials(),
            "parameters": _resume_parameters(),
            "responses": {
                "204": {"description": "The session was disconnected on purpose: EventSource stops reconnecting"},
                **errors(400, 401, 403, 429, 503),
                "501": refused(501, "TLS ends in this process", "streams want a proxy in front that ends TLS"),
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
        parameters=[session_id("The session ID to disconnect")],
        responses={
            "200": {"description": "SSE connection disconnected successfully"},
            "401": refused(401, "Unauthorized if the session is invalid or not authenticated"),
            "404": refused(404, "Session not found", "there is no such session"),
        },
        more={"credentials": _credentials(), "responses": errors(400, 401, 403, 503)},
    )


def _send() -> Json:
    return _operation(
        CONTRACT_TAG,
        "sendMessageToUser",
        "Send a message to a user (For internal testing)",
        "Sends a message to a specific user via SSE. "
        "This endpoint is intended for internal testing and debugging purposes.",
        parameters=[
            required("userId", "query", "The ID of the user to send the message to", limited(topic.MAX_NAME)),
            required("message", "query", "The message content", {"type": "string"}),
        ],
        responses={"200": json_answer("Message sent successfully", "QuiikaResponse")},
        more={"scope": Scope.PUBLISH.value, "responses": errors(400, 401, 403, 503)},
    )


def _publish() -> Json:
    order = {"to": {"user": "u1"}, "event": "order", "data": {"id": 7}, "idempotencyKey": "order-7-shipped"}
    lines = '{"to":{"user":"u1"},"data":"one"}\n{"to":"all","data":{"two":2}}\n'
    one_or_more = {"anyOf": [ref("Message"), {"type": "array", "items": ref("Message"), "minItems": 1}]}
    return _operation(
        "Publishing",
        "publish",
        "Publish messages",
        "Takes one message, an array, or NDJSON (one message a line; application/ndjson and application/jsonl are "
        "understood as well), and answers one receipt for each. A bad message of an array or of NDJSON is reported in "
        "its place, and the good ones still go; one bad message alone is a 400. At most `max_batch_items` messages. "
        f"Needs the scope {Scope.PUBLISH}.",
        requestBody=body(
            {
                "application/json": {"schema": one_or_more, "example": order},
                "application/x-ndjson": {"schema": {"type": "string"}, "example": lines},
            }
        ),
        responses={"200": json_answer("Published", "Receipts"), **errors(400, 401, 403, 413, 415, 503)},
    )


def _mint() -> Json:
    example = {"userId": "u1", "channels": ["news", "room.*"], "ttl": 600}
    return _operation(
        "Sessions",
        "mintSession",
        "Mint a signed session id for a user",
        f"With it a native EventSource connects by nothing but its URL. Needs the scope {Scope.SESSIONS}.",
        requestBody=body({"application/json": {"schema": ref("SessionRequest"), "example": example}}),
        responses={"201": json_answer("Minted", "MintedSession"), **errors(400, 401, 403, 413, 415, 501, 503)},
    )


def _refresh() -> Json:
    return _operation(
        "Sessions",
        "refreshSession",
        "Lengthen a session's open streams with a fresh token",
        "They end when the new bearer token does, never earlier than they would have. With several nodes all are told.",
        parameters=[session_id("The session whose streams go on")],
        responses={
            "200": json_answer("They go on", "Refreshed"),
            "202": json_answer("They go on, if there are any; they would be on another node", "Refreshed"),
            **errors(400, 401, 403, 404, 503),
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
        responses={"200": {"description": "An OpenAPI document", "content": content}, **errors(403)},
    )


def _health() -> Json:
    return _operation(
        "Service",
        "getHealth",
        "See whether the process answers",
        "Depends on nothing else.",
        security=[],
        responses={"200": json_answer("It does", "Health"), **errors(403)},
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
    channels = {"type": "array", "items": limited(topic.MAX_NAME, CHANNEL)}
    text = {"type": "string"}
    texts = {"type": "array", "items": text}
    return [
        optional("channel", "query", "A channel to listen to, once for each; at most `max_channels`", channels),
        optional("Last-Event-ID", "header", "The position to resume after; if it is none, that is a gap", text),
        optional("lastEventId", "query", "The same, where headers can't be sent; the header is stronger", text),
        optional("fresh", "query", "One of the channels, to begin now though the others are resumed", texts),
        optional("labels", "query", "`true`: each message names the channels that it came through", text),
    ]


def _events() -> Json:
    position = {"type": "string", "examples": [POSITION]}
    gap_reason = {"enum": [reason.value for reason in GapReason]}
    close_reason = {"enum": [reason.value for reason in CloseReason if reason.ours]}
    return {
        "stream-opened": struct({"channels": {"type": "array", "items": {"type": "string"}}, "now": position}),
        "stream-gap": struct({"from": nullable(position), "to": position, "reason": gap_reason}),
        "stream-expiring": struct({"expiresIn": {"type": "integer", "description": "Seconds"}}),
        "stream-closing": struct({"reason": close_reason, "reconnect": {"type": "boolean"}}),
    }

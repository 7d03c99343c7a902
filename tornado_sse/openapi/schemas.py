"""The schemas of what is sent and answered, by name."""

import msgspec

from tornado_sse import topic
from tornado_sse.auth import CHANNEL_CHARS, TOKEN_CHANNELS
from tornado_sse.event import MAX_EVENT_NAME
from tornado_sse.minting import MINTED_CHARS
from tornado_sse.openapi.pieces import (
    CHANNEL,
    EVENT_NAME,
    EXPIRES_AT,
    POSITION,
    Json,
    limited,
    of_struct,
    ref,
    struct,
)
from tornado_sse.publishing import Item


def schemas(session_request: type[msgspec.Struct]) -> Json:
    """Name all of them. `session_request` is what the body of a request for a minted session id is decoded to."""
    seconds = {"type": "integer", "description": "Unix time in seconds", "examples": [EXPIRES_AT]}
    text: Json = {"type": "string"}
    return {
        "QuiikaResponse": struct({"message": text, "accessKey": text}, optional=("accessKey",)),
        "QuiikaErrorResponse": struct({"message": text, "status": {"type": "string", "pattern": "^[A-Z_]+$"}}),
        "Target": _target(),
        "Targets": {
            "anyOf": [ref("Target"), {"type": "array", "items": ref("Target"), "minItems": 1}],
            "description": "Where a message goes; a stream that several of a list concern gets it once",
        },
        "Message": _message(),
        "Receipt": struct(
            {
                "index": {"type": "integer", "minimum": 0},
                "position": {"type": "string", "examples": [POSITION]},
                "streams": {"type": "integer", "minimum": 0, "description": "Open streams of this node it goes to"},
                "duplicate": {"type": "boolean", "description": "Its idempotencyKey was known; it was not sent again"},
            }
        ),
        "Refusal": struct({"index": {"type": "integer", "minimum": 0}, "error": text}),
        "Receipts": struct(
            {"receipts": {"type": "array", "items": {"anyOf": [ref("Receipt"), ref("Refusal")]}, "minItems": 1}}
        ),
        "SessionRequest": _session_request(session_request),
        "MintedSession": struct({"sessionId": text, "userId": text, "expiresAt": seconds}),
        "Refreshed": struct({"expiresAt": seconds}),
        "Health": struct({"status": {"const": "ok"}}),
    }


def _target() -> Json:
    named = limited(topic.MAX_NAME)
    session = limited(topic.MAX_SESSION)
    return {
        "anyOf": [
            {"const": "all"},
            struct({"user": named, "session": session}, optional=("session",)),
            struct({"channel": limited(topic.MAX_NAME, CHANNEL)}),
        ],
        "description": "Every stream of a user, of one session of a user, of a channel, or of all",
    }


def _message() -> Json:
    schema = of_struct(Item)
    named: Json = schema["properties"]
    named["to"] = ref("Targets")
    named["data"]["description"] = (
        "Any JSON; a string goes as it is, anything else as JSON; at most `max_message_bytes`"
    )
    named["event"]["anyOf"][0] |= limited(MAX_EVENT_NAME, EVENT_NAME)
    named["idempotencyKey"]["description"] = "A message with the same key within `idempotency_window` is not sent again"
    named["ttl"]["description"] = "Seconds that it may be replayed; null: as long as history holds it; 0: never"
    named["key"]["description"] = "For `slow_policy` conflate: a slow stream gets the newest message of each key"
    return schema


def _session_request(session_request: type[msgspec.Struct]) -> Json:
    schema = of_struct(session_request)
    named = schema["properties"]
    named["userId"] |= limited(topic.MAX_NAME)
    named["channels"] |= {"items": limited(CHANNEL_CHARS), "maxItems": TOKEN_CHANNELS}
    named["channels"]["description"] = "Names, or patterns with *, of channels that the session may listen to"
    named["ttl"]["description"] = "Seconds that it is good for; null: `session_ttl`, which is also the most"
    schema["description"] = f"Together so short that the session id has at most {MINTED_CHARS} characters"
    return schema

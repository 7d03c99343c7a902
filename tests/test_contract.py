"""The contract: what SDKs are generated from, held as a table, so that a generated SDK stays the same."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tornado_sse.handlers.sessions import SessionRequest
from tornado_sse.openapi.document import EXTENSION, document

TAG = "Server-Sent Events"
API = "ServerSentEventsApi"
DOCUMENT = document(SessionRequest)


class Agreed(NamedTuple):
    """One operation: `parameters` are (name, place, description), all required strings; `answers` by status.

    `accepts` is what the answers come as; `returns` the model of a 200, None: nothing that a client would read.
    """

    method: str
    path: str
    summary: str
    description: str
    parameters: list[tuple[str, str, str]]
    accepts: list[str]
    returns: str | None
    answers: dict[str, str]


UNAUTHORIZED = "Unauthorized if the session is invalid or not authenticated"
CONTRACT = {
    "connect": Agreed(
        method="get",
        path="/sse/connect/{sessionId}",
        summary="Subscribe to an event stream",
        description="Establishes a Server-Sent Events (SSE) connection for a given session ID to receive real-time "
        "updates.",
        parameters=[("sessionId", "path", "The session ID to connect with")],
        accepts=["text/event-stream", "application/json"],
        returns=None,
        answers={
            "200": "SSE connection established successfully. The response body will be a stream of events.",
            "401": UNAUTHORIZED,
        },
    ),
    "disconnect": Agreed(
        method="delete",
        path="/sse/disconnect/{sessionId}",
        summary="Disconnect SSE connection",
        description="Removes the Server-Sent Events (SSE) connection for the given session ID and cleans up resources.",
        parameters=[("sessionId", "path", "The session ID to disconnect")],
        accepts=["application/json"],
        returns=None,
        answers={
            "200": "SSE connection disconnected successfully",
            "401": UNAUTHORIZED,
            "404": "Session not found",
        },
    ),
    "sendMessageToUser": Agreed(
        method="get",
        path="/sse/send",
        summary="Send a message to a user (For internal testing)",
        description="Sends a message to a specific user via SSE. This endpoint is intended for internal testing and "
        "debugging purposes.",
        parameters=[
            ("userId", "query", "The ID of the user to send the message to"),
            ("message", "query", "The message content"),
        ],
        accepts=["application/json"],
        returns="QuiikaResponse",
        answers={"200": "Message sent successfully"},
    ),
}
each_operation = pytest.mark.parametrize("name", CONTRACT)


def find(name: str) -> dict[str, Any]:
    agreed = CONTRACT[name]
    found: dict[str, Any] = DOCUMENT["paths"][agreed.path][agreed.method]
    return found


def test_the_tag_names_the_api_and_holds_nothing_else() -> None:
    tagged = [
        operation["operationId"]
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        if TAG in operation["tags"]
    ]
    assert tagged == list(CONTRACT)
    assert all(find(name)["tags"] == [TAG] for name in CONTRACT)
    assert re.sub(r"\W", "", TAG) + "Api" == API


def test_addresses_are_relative_to_the_default_one() -> None:
    assert DOCUMENT["servers"] == [{"url": "http://localhost:8080"}]


@each_operation
def test_texts(name: str) -> None:
    operation, agreed = find(name), CONTRACT[name]
    assert (operation["operationId"], operation["summary"]) == (name, agreed.summary)
    assert operation["description"] == agreed.description


@each_operation
def test_parameters_are_these_and_no_others(name: str) -> None:
    parameters = find(name)["parameters"]
    assert [(p["name"], p["in"], p["description"]) for p in parameters] == CONTRACT[name].parameters
    assert all(p["required"] and p["schema"]["type"] == "string" and "default" not in p["schema"] for p in parameters)
    assert "requestBody" not in find(name)


@each_operation
def test_answers_are_these_and_no_others(name: str) -> None:
    answers = find(name)["responses"]
    assert {status: answer["description"] for status, answer in answers.items()} == CONTRACT[name].answers
    assert not any("headers" in answer for answer in answers.values())
    media_types = [media_type for answer in answers.values() for media_type in answer.get("content", {})]
    assert list(dict.fromkeys(media_types)) == CONTRACT[name].accepts


@each_operation
def test_models_of_answers(name: str) -> None:
    for status, answer in find(name)["responses"].items():
        schemas = [content.get("schema") for content in answer.get("content", {}).values()]
        model = CONTRACT[name].returns if status == "200" else "QuiikaErrorResponse"
        assert [schema for schema in schemas if schema] == (
            [{"$ref": f"#/components/schemas/{model}"}] if model else []
        )


@each_operation
def test_a_bearer_token_is_wanted(name: str) -> None:
    assert find(name)["security"] == [{"bearerAuth": []}]
    assert DOCUMENT["components"]["securitySchemes"]["bearerAuth"] == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }


@pytest.mark.parametrize(
    ("model", "properties", "required"),
    [
        ("QuiikaResponse", ["message", "accessKey"], ["message"]),
        ("QuiikaErrorResponse", ["message", "status"], ["message", "status"]),
    ],
)
def test_models(model: str, properties: list[str], required: list[str]) -> None:
    schema = DOCUMENT["components"]["schemas"][model]
    assert (schema["type"], list(schema["properties"]), schema["required"]) == ("object", properties, required)
    assert all(value["type"] == "string" for value in schema["properties"].values())


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("connect", ["204", "400", "401", "403", "429", "503", "501"]),
        ("disconnect", ["400", "401", "403", "503"]),
        ("sendMessageToUser", ["400", "401", "403", "503"]),
    ],
)
def test_other_answers_stand_beside_it(name: str, more: list[str]) -> None:
    assert list(find(name)[EXTENSION]["responses"]) == more


def test_what_connect_takes_besides() -> None:
    beside = find("connect")[EXTENSION]
    assert [(p["name"], p["in"]) for p in beside["parameters"]] == [
        ("channel", "query"),
        ("Last-Event-ID", "header"),
        ("lastEventId", "query"),
        ("fresh", "query"),
        ("labels", "query"),
    ]
    assert [credential["in"] for credential in beside["credentials"]] == ["header", "path", "cookie", "query"]
    assert beside["methods"] == ["HEAD"]


@pytest.mark.slow
def test_the_generated_page_says_the_same(tmp_path: Path, need_program: Callable[[str], str]) -> None:
    need_program("java")
    need_program("openapi-generator-cli")
    source = tmp_path / "openapi.json"
    source.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    command = [
        "openapi-generator-cli",
        "generate",
        "-g",
        "typescript-axios",
        "-i",
        str(source),
        "-o",
        str(tmp_path / "sdk"),
    ]
    subprocess.run(
        [*command, "--additional-properties", "useSingleRequestParameter=true"], check=True, capture_output=True
    )
    page = (tmp_path / "sdk" / "docs" / f"{API}.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^# \*\*(\w+)\*\*$(.*?)^\[\[Back to top", page, re.DOTALL | re.MULTILINE))
    assert list(sections) == list(CONTRACT)
    for name, agreed in CONTRACT.items():
        section = sections[name]
        assert " ".join(filter(None, ["\n>", agreed.returns, f"{name}()\n"])) in section
        assert agreed.description in section
        assert re.findall(r"^\| \*\*(\w+)\*\* \| \[\*\*string\*\*\] \| (.*?) \| defaults", section, re.MULTILINE) == [
            (parameter, description) for parameter, _, description in agreed.parameters
        ]
        assert f" - **Content-Type**: Not defined\n - **Accept**: {', '.join(agreed.accepts)}\n" in section
        assert re.findall(r"^\|\*\*(\d+)\*\* \| (.*?) \|  -  \|$", section, re.MULTILINE) == list(
            agreed.answers.items()
        )
        assert "[bearerAuth]" in section

"""Chromium's own EventSource against the real server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser_support import Server, Tab, open_browser, open_tab, run_server

CONNECTING, OPEN, CLOSED = 0, 1, 2
RETRY = "--retry=0.6"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def forgetful() -> Iterator[Server]:
    """Keeps two messages for each topic, and lets no other origin in."""
    with run_server(RETRY, "--history-size=2") as server:
        yield server


@pytest.fixture(scope="module")
def server(forgetful: Server) -> Iterator[Server]:
    """Lets pages of the other server in."""
    with run_server(RETRY, f"--allowed-origins={forgetful.url}") as server:
        yield server


@pytest.fixture
def tab_of(browser: Browser) -> Iterator[Callable[..., Tab]]:
    with ExitStack() as stack:
        yield lambda server, **more: stack.enter_context(open_tab(browser, server.url, **more))


def connected(tab: Tab, server: Server, session_id: str, query: str = "") -> Tab:
    tab.listen(f"{server.url}/sse/connect/{session_id}{query}")
    tab.until("tab.opened === 1")
    return tab


def test_a_minted_session_connects_with_no_header(server: Server, tab_of: Callable[..., Tab]) -> None:
    tab = connected(tab_of(server), server, server.mint("plain"))
    headers = tab.requests[0].all_headers()
    assert "text/event-stream" in headers["accept"]
    assert not {"authorization", "cookie", "last-event-id"} & set(headers)
    server.publish("plain", "hello")
    tab.until("tab.events.length === 1")
    assert tab.data() == ["hello"]


def test_named_events(server: Server, tab_of: Callable[..., Tab]) -> None:
    tab = connected(tab_of(server), server, server.mint("named"))
    (position,) = [each["position"] for each in server.publish("named", {"no": 7}, event="order")]
    server.publish("named", "seen by nobody", event="unheard")
    server.publish("named", "unnamed")
    tab.until("tab.events.length === 2")
    assert tab.events()[0] == {"type": "order", "data": '{"no":7}', "lastEventId": position}
    assert tab.data() == ["unnamed"]


def test_data_arrives_as_it_was(server: Server, tab_of: Callable[..., Tab]) -> None:
    sent = [
        "a\nb\r\nc\rd\n\ne",
        "\n",
        "",
        " two  spaces ",
        ": no comment",
        "data: id: 1\nretry: 5\nevent: x",
        "\ufeffgrüße \u2028\u2029\x0b\x0c\x85\x1c 日本語 𝄞 👩‍👩‍👧 \x00",
        "x" * 60_000,
    ]
    tab = connected(tab_of(server), server, server.mint("text"))
    server.publish("text", *sent)
    tab.until(f"tab.events.length === {len(sent)}")
    assert tab.data() == [text.replace("\r\n", "\n").replace("\r", "\n") for text in sent]


def test_a_drop_before_the_first_message_resumes(server: Server, tab_of: Callable[..., Tab]) -> None:
    session_id = server.mint("early")
    tab = connected(tab_of(server), server, session_id)
    assert server.cut(session_id) == 1
    receipts = server.publish("early", "one", "two")
    assert [each["streams"] for each in receipts] == [0, 0]
    tab.until("tab.events.length === 2")
    assert tab.data() == ["one", "two"]
    assert tab.sent_header(1, "last-event-id") is not None


def test_cuts_lose_nothing_and_repeat_nothing(server: Server, tab_of: Callable[..., Tab]) -> None:
    session_id = server.mint("often")
    tab = connected(tab_of(server), server, session_id)
    expected = []
    for cut in range(1, 4):
        live, missed = [f"{cut} live {n}" for n in range(20)], [f"{cut} missed {n}" for n in range(20)]
        expected += live + missed
        server.publish("often", *live)
        tab.until(f"tab.events.length >= {len(expected) - 30}")  # in the middle of what is under way
        server.cut(session_id)
        server.publish("often", *missed)
        tab.until(f"tab.opened === {cut + 1}")
    server.publish("often", "last")
    tab.until("tab.events.at(-1)?.data === 'last'")
    assert tab.data() == [*expected, "last"]
    assert tab.data("stream-gap") == []
    assert tab.ready_state() == OPEN


def test_a_disconnected_session_is_answered_204_and_asks_no_more(server: Server, tab_of: Callable[..., Tab]) -> None:
    session_id, other_id = server.mint("leaving"), server.mint("staying")
    tab = connected(tab_of(server), server, session_id)
    other = connected(tab_of(server), server, other_id)
    rejected = 'tornado_sse_connects_rejected_total{reason="disconnected"}'
    before = server.metric(rejected)
    server.disconnect(session_id)
    tab.until(f"tab.source.readyState === {CLOSED}")
    assert tab.data("stream-closing") == ['{"reason": "disconnected", "reconnect": false}']
    response = tab.requests[1].response()
    assert response is not None
    assert response.status == 204
    for reconnects in (2, 3):  # the longest time to reconnect passes twice for another
        server.cut(other_id)
        other.until(f"tab.opened === {reconnects}")
    assert (tab.ready_state(), len(tab.requests)) == (CLOSED, 2)
    assert server.metric(rejected) == before + 1


def test_a_malformed_session_is_refused_for_good(server: Server, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(server)
    tab.listen(f"{server.url}/sse/connect/plain")
    tab.until(f"tab.source.readyState === {CLOSED}")
    response = tab.requests[0].response()
    assert response is not None
    assert response.status == 401


def host_cookie(server: Server, user: str) -> list[dict[str, Any]]:
    return [
        {
            "name": "__Host-sse",
            "value": server.token(user),
            "url": server.url.replace("http:", "https:"),  # Chromium wants it so for a secure cookie, and sends it
            "secure": True,  # to a plain http loopback all the same
            "httpOnly": True,
            "sameSite": "Strict",
        }
    ]


def test_a_cookie_connects_a_page_of_the_server(server: Server, tab_of: Callable[..., Tab]) -> None:
    tab = connected(tab_of(server, cookies=host_cookie(server, "baker")), server, "my-session")
    assert tab.sent_header(0, "sec-fetch-site") == "same-origin"
    server.publish("baker", "bread")
    tab.until("tab.events.length === 1")
    assert tab.data() == ["bread"]


def test_a_cookie_connects_a_page_of_an_allowed_origin(
    server: Server, forgetful: Server, tab_of: Callable[..., Tab]
) -> None:
    tab = tab_of(forgetful, cookies=host_cookie(server, "cook"))
    tab.listen(f"{server.url}/sse/connect/my-session", credentials=True)
    tab.until("tab.opened === 1")
    assert tab.sent_header(0, "origin") == forgetful.url
    server.publish("cook", "soup")
    tab.until("tab.events.length === 1")
    assert tab.data() == ["soup"]


def test_a_cookie_is_no_use_to_a_foreign_page(server: Server, forgetful: Server, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(server, cookies=host_cookie(forgetful, "victim"))
    failures = 'tornado_sse_auth_failures_total{reason="origin"}'
    before = forgetful.metric(failures)
    tab.listen(f"{forgetful.url}/sse/connect/my-session", credentials=True)
    tab.until(f"tab.source.readyState === {CLOSED}")
    assert tab.events() == []
    assert forgetful.metric(failures) == before + 1


def test_a_foreign_page_may_not_even_with_a_minted_session(
    server: Server, forgetful: Server, tab_of: Callable[..., Tab]
) -> None:
    tab = tab_of(server)
    tab.listen(f"{forgetful.url}/sse/connect/{forgetful.mint('guest')}")
    tab.until(f"tab.source.readyState === {CLOSED}")
    assert tab.events() == []


def test_an_allowed_page_may_with_a_minted_session(
    server: Server, forgetful: Server, tab_of: Callable[..., Tab]
) -> None:
    tab = connected(tab_of(forgetful), server, server.mint("guest"))
    server.publish("guest", "welcome")
    tab.until("tab.events.length === 1")
    assert tab.data() == ["welcome"]


def test_a_hole_is_seen_as_an_event(forgetful: Server, tab_of: Callable[..., Tab]) -> None:
    session_id = forgetful.mint("away")
    tab = connected(tab_of(forgetful), forgetful, session_id)
    forgetful.publish("away", "before")
    tab.until("tab.events.length === 1")
    forgetful.cut(session_id)
    positions = [each["position"] for each in forgetful.publish("away", "gone", "gone too", "kept", "kept too")]
    tab.until("tab.events.length === 4")
    first, gap, *kept = tab.events()
    assert gap["type"] == "stream-gap"
    assert gap["data"] == f'{{"from": "{first["lastEventId"]}", "to": "{positions[1]}", "reason": "evicted"}}'
    assert [(each["data"], each["lastEventId"]) for each in kept] == [
        ("kept", positions[2]),
        ("kept too", positions[3]),
    ]

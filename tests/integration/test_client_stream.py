"""The browser client in one tab of Chromium: what it survives."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser
from playwright.sync_api import TimeoutError as PatienceOver

from browser_support import open_browser
from page_support import SETTINGS, Backend, Link, Tab, open_link, open_pages, until
from process_support import Process, server_process
from server_support import token


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    with server_process(**SETTINGS) as process:
        yield process


@pytest.fixture
def backend(server: Process) -> Iterator[Backend]:
    with closing(Backend(server)) as backend:
        yield backend


@pytest.fixture
def link(server: Process) -> Iterator[Link]:
    with open_link(server.url) as link:
        yield link


@pytest.fixture
def tab(browser: Browser, link: Link) -> Iterator[Tab]:
    with browser.new_context() as context, open_pages(context, link, 1) as tabs:
        yield tabs[0]


def test_named_events_and_channels_come_with_a_bearer_token(tab: Tab, backend: Backend) -> None:
    tab.opened("reader", channels=["news", "sport/1"])
    backend.publish({"channel": "sport/1"}, {"goal": 1}, event="goal")
    (position,) = backend.publish({"channel": "news"}, "two\nlines")
    tab.until("tab.events.length === 2")
    first, second = tab.read("tab.events")
    assert (first["type"], first["data"]) == ("goal", '{"goal":1}')
    assert second == {"type": "message", "data": "two\nlines", "lastEventId": position}


def test_cuts_lose_nothing(tab: Tab, backend: Backend, link: Link) -> None:
    tab.opened("cut")
    sent = []
    for turn in range(4):
        sent += [f"{turn} live", f"{turn} missed"]
        backend.publish("cut", sent[-2])
        link.cut()
        backend.publish("cut", sent[-1])
        tab.has(*sent)
    assert tab.read("tab.gaps") == []


def test_a_silent_stall_is_noticed(tab: Tab, backend: Backend, link: Link) -> None:
    tab.opened("stalled")
    link.stall()
    backend.publish("stalled", "meanwhile")
    tab.until("tab.stream.state === 'connecting'")
    link.flow()
    tab.has("meanwhile")


def test_offline_and_back(tab: Tab, backend: Backend) -> None:
    tab.opened("traveller")
    tab.page.context.set_offline(True)
    backend.publish("traveller", "in the tunnel")
    tab.until("!navigator.onLine")
    tab.page.context.set_offline(False)
    tab.has("in the tunnel")


def test_a_reload_resumes(tab: Tab, backend: Backend) -> None:
    tab.opened("reloader")
    backend.publish("reloader", "before")
    tab.has("before")
    tab.page.goto("about:blank")
    backend.publish("reloader", "meanwhile")
    tab.opened("reloader")
    backend.publish("reloader", "after")
    tab.has("meanwhile", "after")


def test_a_frozen_page_is_back_when_it_is_thawed(tab: Tab, backend: Backend) -> None:
    tab.opened("sleeper")
    streams = backend.metric("open_streams")
    tab.freeze()
    tab.until("tab.stream.state === 'waiting'")
    until(lambda: backend.metric("open_streams") < streams)
    backend.publish("sleeper", "good morning")
    tab.thaw()
    tab.has("good morning")


def test_a_server_killed_and_back_tells_of_what_it_lost(tab: Tab, link: Link) -> None:
    with server_process(**SETTINGS) as first, closing(Backend(first)) as backend:
        link.lead_to(first.url)
        tab.opened("witness")
        backend.publish("witness", "before")
        tab.has("before")
        os.kill(first.pid, signal.SIGKILL)
        tab.until("tab.stream.state !== 'open'")
    with server_process(**SETTINGS) as second, closing(Backend(second)) as backend:
        link.lead_to(second.url)
        tab.until("tab.stream.state === 'open' && tab.gaps.length")
        backend.publish("witness", "after")
        tab.has("before", "after")
    assert [gap["reason"] for gap in tab.read("tab.gaps")] == ["epoch"]


def test_a_token_is_refreshed_on_the_open_stream(tab: Tab, backend: Backend) -> None:
    opened = backend.metric("streams_opened_total")
    tab.opened("keeper", tokens=[token("keeper", ttl=3), token("keeper")])
    tab.until("tab.asked === 2")
    with pytest.raises(PatienceOver):
        tab.until("tab.stream.state !== 'open'", patience=4)
    backend.publish("keeper", "still here")
    tab.has("still here")
    assert backend.metric("streams_opened_total") == opened + 1


def test_a_stream_that_ended_with_its_token_comes_back_with_a_fresh_one(tab: Tab, backend: Backend) -> None:
    short = token("late", ttl=5)  # of which opening the page may take some
    tab.opened("late", tokens=[short, short, token("late")])
    tab.until("tab.events.some(({ type }) => type === 'stream-closing')")
    backend.publish("late", "between")
    tab.has("between")


def test_a_refused_token_is_tried_once_more_and_no_more(tab: Tab, backend: Backend) -> None:
    refused = backend.metric('connects_rejected_total{reason="auth"}')
    tab.connect("stranger", tokens=["bad"]).until("tab.stream.state === 'closed'")
    assert (tab.read("tab.stream.reason"), tab.read("tab.asked")) == ("status 401", 2)
    assert backend.metric('connects_rejected_total{reason="auth"}') == refused + 2


def test_all_of_it_works_from_another_origin(tab: Tab, link: Link) -> None:
    with server_process(**SETTINGS, allowed_origins=link.url) as other, closing(Backend(other)) as backend:
        tab.connect("guest", tokens=[token("guest", ttl=3), token("guest")], url=other.url)
        tab.until("tab.asked === 2 && tab.stream.state === 'open'")
        backend.publish("guest", "welcome")
        tab.has("welcome")
        tab.read("tab.stream.close({ disconnect: true })")
        tab.connect("guest", url=other.url).until("tab.stream.state === 'closed'")
        assert tab.read("tab.stream.reason") == "disconnected"
        tab.connect("stranger", tokens=["bad"], url=other.url).until("tab.stream.state === 'closed'")
        assert (tab.read("tab.stream.reason"), tab.read("tab.asked")) == ("status 401", 2)


def test_a_session_ended_on_the_server_stops_it(tab: Tab, backend: Backend) -> None:
    tab.opened("leaver")
    backend.disconnect("leaver", "session-of-leaver")
    tab.until("tab.stream.state === 'closed'")
    assert tab.read("tab.stream.reason") == "disconnected"
    tab.connect("leaver").until("tab.stream.state === 'closed'")  # answered 204
    assert tab.read("tab.stream.reason") == "disconnected"


def test_closing_ends_the_session_too_if_asked(tab: Tab, backend: Backend) -> None:
    tab.opened("tidy")
    tab.read("tab.stream.close({ disconnect: true })")
    tab.connect("tidy").until("tab.stream.state === 'closed'")
    assert tab.read("tab.stream.reason") == "disconnected"
    backend.publish("tidy", "nobody there")

"""Many tabs of one origin that share one stream: whatever happens, each has each event once and in order."""

import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import groupby

import pytest
from playwright.sync_api import Browser
from playwright.sync_api import Error as BrowserError

from browser_support import open_browser
from page_support import SETTINGS, Backend, Link, Tab, leader_of, open_link, open_pages, until
from process_support import server_process
from server_support import token

SOAK = os.environ.get("CLIENT_SOAK") == "true"
TABS = 12
EVENTS, CUTS = (10_000, 100) if SOAK else (1_000, 10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with server_process(**SETTINGS) as server, closing(Backend(server)) as backend:
        yield backend


@pytest.fixture
def link(backend: Backend) -> Iterator[Link]:
    with open_link(backend.process.url) as link:
        yield link


Pages = Callable[[int], list[Tab]]


@pytest.fixture
def pages(browser: Browser, link: Link) -> Iterator[Pages]:
    with ExitStack() as stack:
        context = stack.enter_context(browser.new_context())
        yield lambda count: stack.enter_context(open_pages(context, link, count))


def shared(tabs: Sequence[Tab], user: str, **options: object) -> None:
    for tab in tabs:
        tab.opened(user, share=True, **options)


def one_connection(backend: Backend) -> None:
    """Wait until the server has no other any more: of one that was given up it learns a moment later."""
    until(lambda: backend.metric("open_streams") == 1)


def freeze(tab: Tab) -> None:
    tab.freeze()


def close(tab: Tab) -> None:
    tab.page.close()


def crash(tab: Tab) -> None:
    with suppress(BrowserError):
        tab.page.goto("chrome://crash", timeout=2_000)


def stun(tab: Tab) -> None:
    """Keep the page so busy that it hears and says nothing."""
    tab.page.evaluate("setTimeout(() => { const end = Date.now() + 5000; while (Date.now() < end); }, 50)")


@contextmanager
def paused(tab: Tab) -> Iterator[None]:
    """Let nothing run in a page, as when its machine sleeps or its browser freezes it without a word."""
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Debugger.enable")
    session.send("Debugger.pause")
    yield
    session.send("Debugger.resume")
    session.detach()


def test_twelve_tabs_have_one_connection(pages: Pages, backend: Backend) -> None:
    tabs = pages(TABS)
    shared(tabs, "twelve")
    one_connection(backend)
    backend.publish("twelve", *map(str, range(100)))
    for tab in tabs:
        tab.has(*map(str, range(100)))
    assert [tab.role() for tab in tabs].count("leader") == 1


@pytest.mark.parametrize("fate", [close, crash, freeze, stun], ids=lambda fate: fate.__name__)
def test_another_tab_takes_over(fate: Callable[[Tab], None], pages: Pages, backend: Backend) -> None:
    tabs = pages(4)
    user = f"led-{fate.__name__}"
    shared(tabs, user)
    backend.publish(user, "before")
    for tab in tabs:
        tab.has("before")
    leader = leader_of(tabs)
    others = [tab for tab in tabs if tab is not leader]
    fate(leader)
    backend.publish(user, "meanwhile")
    leader_of(others)
    backend.publish(user, "after")
    for tab in others:
        tab.has("before", "meanwhile", "after")


def test_a_leader_that_stands_still_is_replaced_and_follows_afterwards(pages: Pages, backend: Backend) -> None:
    tabs = pages(3)
    shared(tabs, "paused")
    leader = leader_of(tabs)
    with paused(leader):
        backend.publish("paused", "meanwhile")
        leader_of([tab for tab in tabs if tab is not leader]).has("meanwhile")
    leader.until("tab.stream.role === 'follower'")
    backend.publish("paused", "after")
    for tab in tabs:
        tab.has("meanwhile", "after")


def test_a_thawed_leader_follows_and_missed_nothing(pages: Pages, backend: Backend) -> None:
    tabs = pages(3)
    shared(tabs, "thawed")
    leader = leader_of(tabs)
    leader.freeze()
    backend.publish("thawed", "meanwhile")
    leader_of([tab for tab in tabs if tab is not leader]).has("meanwhile")
    leader.thaw()
    leader.has("meanwhile")
    leader.until("tab.stream.role === 'follower'")


def test_a_leader_left_for_another_page_goes_on_when_one_goes_back(pages: Pages, backend: Backend) -> None:
    """With Chromium's real back/forward cache, which takes a page only if it let go of connections and locks."""
    tabs = pages(3)
    sets = dict(zip(tabs, (["a"], [], ["b"]), strict=True))
    for tab, channels in sets.items():
        tab.opened("left", share=True, channels=channels)
    leader = leader_of(tabs)
    backend.publish({"channel": "a"}, "before")
    leader.has("before")
    leader.go_elsewhere()
    leader_of([tab for tab in tabs if tab is not leader])
    backend.publish({"channel": "a"}, "meanwhile")
    backend.publish("left", "all")
    leader.come_back()
    leader.has("before", "meanwhile", "all")
    leader.until("tab.stream.role === 'follower' && tab.stream.state === 'open'")
    one_connection(backend)


def test_a_tab_that_reloads_gets_what_it_missed(pages: Pages, backend: Backend) -> None:
    tabs = pages(2)
    shared(tabs, "reload")
    backend.publish("reload", "one")
    for tab in tabs:
        tab.has("one")
    follower = next(tab for tab in tabs if tab is not leader_of(tabs))
    follower.page.goto("about:blank")
    backend.publish("reload", "two", "three")
    leader_of([tab for tab in tabs if tab is not follower]).has("one", "two", "three")
    follower.opened("reload", share=True).has("two", "three")
    one_connection(backend)


def test_a_server_killed_and_back_is_nothing_to_any_tab_but_a_gap(pages: Pages, link: Link) -> None:
    """One tab was away meanwhile, and brings a position of before; it holds back none of the others."""
    tabs = pages(4)
    with server_process(**SETTINGS) as first, closing(Backend(first)) as backend:
        link.lead_to(first.url)
        shared(tabs, "witness")
        backend.publish("witness", "before")
        for tab in tabs:
            tab.has("before")
        away, *others = sorted(tabs, key=lambda tab: tab is leader_of(tabs))
        away.page.goto("about:blank")
        os.kill(first.pid, signal.SIGKILL)
        for tab in others:
            tab.until("tab.stream.state !== 'open'")
    with server_process(**SETTINGS) as second, closing(Backend(second)) as backend:
        link.lead_to(second.url)
        for tab in others:
            tab.until("tab.stream.state === 'open' && tab.gaps.length")
        numbers = [str(number) for number in range(200)]
        backend.publish("witness", *numbers[:100])
        away.connect("witness", share=True)
        for number in numbers[100:]:
            backend.publish("witness", number)
        for tab in others:
            tab.has("before", *numbers)
        away.has(*numbers)
        assert [[gap["reason"] for gap in tab.read("tab.gaps")] for tab in tabs] == [["epoch"]] * 4
        one_connection(backend)


SETS = [[], ["a"], ["b"], ["a", "b"], ["c"], ["a", "c"]]


def open_sets(tabs: Sequence[Tab], user: str) -> dict[Tab, list[str]]:
    sets = {tab: SETS[number % len(SETS)] for number, tab in enumerate(tabs)}
    for tab, channels in sets.items():
        tab.opened(user, share=True, channels=channels)
    return sets


def test_twelve_tabs_with_channels_of_their_own_have_one_connection(pages: Pages, backend: Backend) -> None:
    tabs = pages(TABS)
    sets = open_sets(tabs, "mixed")
    one_connection(backend)
    for name in "abc":
        backend.publish({"channel": name}, f"{name}1", f"{name}2")
    backend.publish([{"channel": "a"}, {"channel": "c"}], "two channels")
    backend.publish("mixed", "all")
    for tab, channels in sets.items():
        both = ["two channels"] if {"a", "c"} & set(channels) else []
        tab.has(*[f"{name}{number}" for name in channels for number in (1, 2)], *both, "all")
    assert [tab.role() for tab in tabs].count("leader") == 1


def test_a_forbidden_channel_is_one_tabs_own_affair(pages: Pages, backend: Backend) -> None:
    tabs = pages(4)
    tokens = [token("strict", channels=["a", "b"])]
    for tab, channels in zip(tabs, (["a"], ["b"], [], ["secret"]), strict=True):
        tab.connect("strict", tokens, share=True, channels=channels)
    tabs[3].until("tab.stream.state === 'closed'")
    assert tabs[3].read("tab.stream.reason") == "status 403"
    for tab in tabs[:3]:
        tab.until("tab.stream.state === 'open' && tab.stream.position")
    backend.publish({"channel": "b"}, "b1")
    backend.publish("strict", "all")
    tabs[0].has("all")
    tabs[1].has("b1", "all")
    tabs[2].has("all")
    one_connection(backend)


def test_the_end_of_the_session_is_the_end_for_all(pages: Pages, backend: Backend) -> None:
    tabs = pages(3)
    shared(tabs, "ended")
    backend.disconnect("ended", "session-of-ended")
    for tab in tabs:
        tab.until("tab.stream.state === 'closed'")
        assert tab.read("tab.stream.reason") == "disconnected"


def test_random_cuts_and_lost_leaders(pages: Pages, backend: Backend, link: Link) -> None:
    """Connections break, leaders are frozen, stand still or are killed, and events keep coming, to many channels."""
    chance = random.Random(7)  # noqa: S311 - the same story each time
    sets = open_sets(pages(TABS if SOAK else 7), "storm")
    sent = [(str(number), chance.choice(["a", "b", "c", None])) for number in range(EVENTS)]
    misfortunes: list[Callable[[], None]] = [
        link.cut,
        lambda: freeze_briefly(leader_of(list(sets))),
        lambda: pause_briefly(leader_of(list(sets))),
    ]
    part = EVENTS // CUTS
    for turn in range(CUTS):
        publish_mixed(backend, "storm", sent[turn * part : turn * part + part // 2])
        chance.choice(misfortunes)()
        if turn == CUTS // 2:
            killed = leader_of(list(sets))
            crash(killed)
            del sets[killed]
        publish_mixed(backend, "storm", sent[turn * part + part // 2 : (turn + 1) * part])
    backend.publish("storm", "end")
    for tab, channels in sets.items():
        tab.has(*[data for data, channel in sent if channel is None or channel in channels], "end")
    one_connection(backend)


def publish_mixed(backend: Backend, user: str, events: Sequence[tuple[str, str | None]]) -> None:
    for channel, group in groupby(events, lambda event: event[1]):
        backend.publish({"channel": channel} if channel else user, *[data for data, _ in group])


def freeze_briefly(tab: Tab) -> None:
    tab.freeze()
    tab.thaw()


def pause_briefly(tab: Tab) -> None:
    """Long enough for another to take the lead."""
    with paused(tab):
        tab.link.rest(1.5)

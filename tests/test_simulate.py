"""The models behind docs/scale.md: they lose nobody, agree with a pencil, and the page shows what they say."""

from dataclasses import replace

import pytest

import plan
from simulate import Fanout, Storm, fanout, storm
from units import measured

STORM = Storm(clients=20_000, nodes=4, rate=1000, backlog=100_000, retry=2)

FANOUT = Fanout(workers=10, streams=1000, copy=0.001, delivery=0.00002)


def page_part(page: str) -> str:
    return page[page.index("<!-- tables") : page.index("<!-- end -->")]


@pytest.mark.parametrize("backlog", [1, 100, 100_000])
def test_everybody_comes_back_once(backlog: int) -> None:
    assert storm(replace(STORM, backlog=backlog, clients=2000)).back == 2000


def test_a_storm_takes_what_its_clients_take_one_after_another() -> None:
    found = storm(STORM)
    assert found.last == pytest.approx(0.5 * 2 + 20_000 / 4 / 1000, rel=0.05)
    assert found.unheard == 0


def test_a_storm_that_the_nodes_can_bear_lasts_as_long_as_the_retry_times() -> None:
    found = storm(replace(STORM, rate=100_000))
    assert found.last == pytest.approx(1.5 * 2, rel=0.01)
    assert found.half == pytest.approx(2, rel=0.01)


def test_who_is_not_heard_comes_late() -> None:
    found = storm(replace(STORM, backlog=100))
    assert found.unheard > 0
    assert found.queue <= 100
    assert found.last > storm(STORM).last


def test_a_longer_retry_shortens_the_queue() -> None:
    assert storm(replace(STORM, retry=20)).queue < storm(STORM).queue / 10


def test_the_same_seed_gives_the_same_answer() -> None:
    assert storm(STORM) == storm(STORM)
    assert storm(STORM) != storm(replace(STORM, seed=2))
    assert fanout(replace(FANOUT, jitter=0.5)) == fanout(replace(FANOUT, jitter=0.5))


def test_a_message_reaches_the_last_stream_behind_all_copies_and_deliveries() -> None:
    found = fanout(FANOUT)
    assert found.last == pytest.approx(10 * 0.001 + 1000 * 0.00002)
    assert found.deliveries == 10 * 1000


def test_every_message_is_delivered_to_all_however_they_gather() -> None:
    found = fanout(replace(FANOUT, messages=50, interval=0.001))
    assert found.deliveries == 50 * 10 * 1000


def test_messages_that_gather_leave_together() -> None:
    slow = replace(FANOUT, copy=0.0, messages=100, interval=0.001)  # a round takes 20 times as long as the interval
    assert fanout(slow).last <= 2 * 1000 * 0.00002 + 1e-9


def test_an_engine_that_can_not_keep_up_is_seen() -> None:
    assert fanout(replace(FANOUT, messages=100, interval=0.001)).last > 0.5


def test_the_page_shows_what_was_measured() -> None:
    page = plan.PAGE.read_text()
    assert page_part(page) == page_part(plan.filled(page, measured(plan.HERE / "results")))

import json
import socket
import time
from collections.abc import Callable

import pytest
from click.testing import Result

from bench_support import HASTE, bench, faulty
from tornado_sse.cli.bench import publisher, runner
from tornado_sse.cli.bench.plan import NS
from tornado_sse.cli.bench.sockets import Loop


def seen_of(result: Result) -> dict[str, int]:
    deliveries: dict[str, int] = json.loads(result.stdout)["deliveries"]
    return {name: deliveries[name] for name in ("expected", "received", "lost", "reordered", "duplicates", "gaps")}


@pytest.mark.parametrize(
    ("deliver", "expected"),
    [
        (lambda markers: markers, (10, 0, 0, 0, 0)),
        (lambda markers: [found for found in markers if not found.endswith(b"3")], (8, 2, 0, 0, 2)),
        (lambda markers: markers[::-1], (10, 0, 8, 0, 2)),
        (lambda markers: [markers[0], *markers], (10, 0, 0, 2, 0)),
    ],
)
def test_losses_and_disorder_are_found(
    deliver: Callable[[list[bytes]], list[bytes]], expected: tuple[int, ...]
) -> None:
    with faulty(deliver=deliver, last_post=1) as server:
        result = bench(server.url, "--streams", "2", "--messages", "5", "--batch", "5", "--json")
    assert tuple(seen_of(result).values())[1:] == expected
    assert result.exit_code == (1 if expected[1] else 0)


def test_at_a_rate_losses_hold_nothing_up() -> None:
    with faulty(deliver=lambda _: [], last_post=10) as server:
        result = bench(server.url, "--streams", "1", "--rate", "1000", "--duration", "0.01", "--json")
    assert (result.exit_code, seen_of(result)["lost"], server.posts) == (1, 10, 10)


def test_a_window_full_of_lost_messages_ends_the_run() -> None:
    with faulty(deliver=lambda _: [], last_post=16) as server:
        result = bench(server.url, "--streams", "1", "--messages", "100")
    assert result.exit_code == 1
    assert "lost          16\n" in result.stdout
    assert result.stderr == "Error: nothing arrived for 0.05 s\n"


def test_a_server_that_answers_no_publish_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PIPELINE", 2)
    with faulty(posted=b"HTTP/1.1 200", last_post=2) as server:
        result = bench(server.url, "--streams", "1", "--rate", "1000")
    assert result.exit_code == 1
    assert "deliveries    2 of 2 " in result.stdout
    assert result.stderr == "Error: nothing arrived for 0.05 s\n"


def test_streams_that_the_server_closes_are_counted() -> None:
    with faulty(closes_at_publish=True) as server:
        result = bench(server.url, "--streams", "2", "--messages", "100")
    assert result.exit_code == 1
    assert "closed        2 streams, by the server\n" in result.stdout
    assert result.stderr == "Error: the server closed every stream\n"


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = bench(f"http://127.0.0.1:{server.getsockname()[1]}", "--streams", "2", settle=HASTE)
    assert (result.exit_code, result.stderr) == (1, "Error: nothing happened for 0.05 s while connecting\n")


def test_ctrl_c_ends_the_run_and_prints_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Loop.turn
    with faulty() as server:

        def interrupted(self: Loop, timeout: float) -> None:
            if server.posts:
                raise KeyboardInterrupt
            turn(self, timeout)

        monkeypatch.setattr(Loop, "turn", interrupted)
        result = bench(server.url, "--streams", "1", "--rate", "1", "--duration", "1000")
    assert result.exit_code == 130
    assert result.stdout.startswith("streams       1 of 1 opened")
    assert result.stderr == "Error: interrupted\n"


def test_what_is_due_sooner_than_epoll_can_wait_is_not_waited_for() -> None:
    now = time.monotonic_ns()
    assert runner._until(now - 1) == runner.TURN
    assert runner._until(now + 3600 * NS) == runner.TURN
    assert 0 <= runner._until(now + 50_000_000) < 0.05

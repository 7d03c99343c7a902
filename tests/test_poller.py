import asyncio
import socket
from itertools import pairwise

import pytest

from client_support import until
from tornado_sse.poller import Poller


class Owner:
    """Takes a note of what it is told, and reads what came."""

    def __init__(self, poller: Poller) -> None:
        self.socket, self.peer = socket.socketpair()
        self.socket.setblocking(False)
        self.poller = poller
        self.heard: list[str] = []
        self.victims: list[Owner] = []
        poller.add(self.socket.fileno(), self)

    def readable(self) -> None:
        self.heard.append(f"read {len(self.socket.recv(1024))}")
        self._end_victims()

    def writable(self) -> None:
        self.heard.append("write")
        self.poller.watch(self.socket.fileno(), reading=True, writing=False)
        self._end_victims()

    def _end_victims(self) -> None:
        for victim in self.victims:
            victim.end()
        self.victims.clear()

    def end(self) -> None:
        self.poller.remove(self.socket.fileno())
        self.socket.close()
        self.peer.close()


async def turn() -> None:
    """Let another owner hear of something: then all that was ready before has been told."""
    poller = Poller()
    poller.start()
    owner = Owner(poller)
    owner.peer.send(b"x")
    await until(lambda: owner.heard)
    owner.end()
    poller.close()


@pytest.fixture
def poller() -> Poller:
    return Poller()


@pytest.mark.gen_test
async def test_tells_of_bytes_and_of_the_end(poller: Poller) -> None:
    poller.start()
    poller.start()
    owner = Owner(poller)
    owner.peer.send(b"abc")
    await until(lambda: owner.heard == ["read 3"])
    owner.peer.shutdown(socket.SHUT_WR)
    await until(lambda: owner.heard[:2] == ["read 3", "read 0"])
    owner.end()
    poller.close()


@pytest.mark.gen_test
async def test_tells_of_room_only_on_demand(poller: Poller) -> None:
    poller.start()
    owner = Owner(poller)
    await turn()
    assert owner.heard == []
    poller.watch(owner.socket.fileno(), reading=True, writing=True)
    await until(lambda: owner.heard == ["write"])
    await turn()
    assert owner.heard == ["write"]
    owner.end()
    poller.close()


@pytest.mark.gen_test
async def test_a_hang_up_is_told_even_to_who_does_not_read(poller: Poller) -> None:
    poller.start()
    owner = Owner(poller)
    poller.watch(owner.socket.fileno(), reading=False, writing=False)
    owner.peer.send(b"abc")
    owner.peer.shutdown(socket.SHUT_WR)
    await turn()
    assert owner.heard == [], "half a connection is no hang-up"
    owner.peer.close()
    await until(lambda: owner.heard[:1] == ["read 3"])
    owner.end()
    poller.close()


@pytest.mark.gen_test
async def test_who_reads_again_is_told_what_came_meanwhile(poller: Poller) -> None:
    poller.start()
    owner = Owner(poller)
    poller.watch(owner.socket.fileno(), reading=False, writing=False)
    owner.peer.send(b"abc")
    await turn()
    poller.watch(owner.socket.fileno(), reading=True, writing=False)
    await until(lambda: owner.heard == ["read 3"])
    owner.end()
    poller.close()


@pytest.mark.gen_test
async def test_tells_of_both_at_once(poller: Poller) -> None:
    owner = Owner(poller)
    owner.peer.send(b"abc")
    poller.watch(owner.socket.fileno(), reading=True, writing=True)
    poller.start()
    await until(lambda: owner.heard == ["write", "read 3"])
    owner.end()
    poller.close()


@pytest.mark.gen_test
async def test_who_ended_itself_when_told_to_write_is_not_told_to_read(poller: Poller) -> None:
    owner = Owner(poller)
    owner.victims = [owner]
    owner.peer.send(b"abc")
    poller.watch(owner.socket.fileno(), reading=True, writing=True)
    poller.start()
    await until(lambda: owner.heard)
    await turn()
    assert owner.heard == ["write"]
    poller.close()


@pytest.mark.gen_test
async def test_who_was_ended_by_another_in_the_same_turn_is_told_nothing(poller: Poller) -> None:
    first, second = Owner(poller), Owner(poller)
    first.victims, second.victims = [second], [first]
    first.peer.send(b"a")
    second.peer.send(b"b")
    poller.start()
    await until(lambda: first.heard or second.heard)
    await turn()
    assert sorted(first.heard + second.heard) == ["read 1"]
    (second if first.heard == [] else first).end()
    poller.close()


def test_can_be_closed_without_ever_being_started(poller: Poller) -> None:
    poller.close()


@pytest.mark.parametrize("victim", [None, 1])
@pytest.mark.gen_test
async def test_what_there_is_no_time_for_comes_first_in_the_next_turn(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, victim: int | None
) -> None:
    monkeypatch.setattr("tornado_sse.poller.SLICE", 0.0)
    owners = [Owner(poller) for _ in range(3)]
    if victim is not None:
        owners[0].victims.append(owners[victim])
    for owner in owners:
        owner.peer.send(b"a")
    poller.start()
    heard: list[list[bool]] = []
    while not owners[2].heard:
        await asyncio.sleep(0)
        heard.append([bool(owner.heard) for owner in owners])
    told = [index for index in range(3) if index != victim]
    assert [owner.heard for owner in owners] == [["read 1"] if index in told else [] for index in range(3)]
    for earlier, later in pairwise(told):
        assert next(i for i, row in enumerate(heard) if row[earlier]) < next(
            i for i, row in enumerate(heard) if row[later]
        )
    for index in told:
        owners[index].end()
    poller.close()

"""Who gets no stream, and how they are turned away: for good, for a while, or softly."""

import errno
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from client_support import Client, until
from server_support import Clock, Served, bearer, serving
from slow_broker import Hesitant, SlowReplay
from tornado_sse.errors import Unavailable
from tornado_sse.topic import Topic

EVENT_STREAM = {"Accept": "text/event-stream"}


@pytest.mark.gen_test
async def test_without_a_good_credential_it_is_401() -> None:
    async with serving() as node:
        for headers, error in (
            ({}, None),
            ({"Authorization": "Bearer nonsense"}, "invalid_token"),
            (bearer(now=1.0), "invalid_token"),
            (node.bearer(session="another"), "invalid_token"),
        ):
            response = await node.ask("/sse/connect/s1", headers, user=None)
            assert response.status == 401
            assert response.json().keys() == {"message", "status"}
            assert response.json()["status"] == "UNAUTHORIZED"
            challenge = response.headers["www-authenticate"]
            assert challenge.startswith('Bearer realm="tornado_sse"')
            assert (f'error="{error}"' in challenge) is (error is not None)
        assert node.server.stats.connects_rejected == {"auth": 4}
        assert sum(node.server.stats.auth_failures.values()) == 4


@pytest.mark.gen_test
async def test_a_disconnected_session_is_answered_204_for_a_while(clock: Clock) -> None:
    async with serving(clock, disconnect_hold=60) as node:
        client = await node.opened()
        assert (await node.ask("/sse/disconnect/s1", method="DELETE")).status == 200
        assert (await client.rest())[-1].json() == {"reason": "disconnected", "reconnect": False}
        for method in ("GET", "HEAD"):
            response = await node.ask("/sse/connect/s1", EVENT_STREAM, method=method)
            assert (response.status, response.body) == (204, b"")
            assert "content-type" not in response.headers
        assert node.server.stats.connects_rejected["disconnected"] == 2
        await node.opened("s1", user="u2")
        clock.advance(61)
        await node.opened()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_streams_per_user": 2}, "this user has as many streams as allowed"),
        ({"max_streams_per_address": 2}, "this address has as many streams as allowed"),
    ],
)
@pytest.mark.gen_test
async def test_a_cap_answers_429(settings: dict[str, Any], message: str) -> None:
    async with serving(**settings) as node:
        first_stream = await node.opened()
        await node.opened("s2")
        response = await node.ask("/sse/connect/s3", EVENT_STREAM)
        assert response.status == 429
        assert response.json() == {"message": message, "status": "TOO_MANY_REQUESTS"}
        assert response.headers["retry-after"] == "5"
        first_stream.close()
        await until(lambda: len(node.streams) == 1)
        await node.opened("s3")
        assert sum(node.server.stats.connects_rejected.values()) == 1


@pytest.mark.gen_test
async def test_a_cap_of_users_is_of_each_user_alone() -> None:
    async with serving(max_streams_per_user=1) as node:
        await node.opened()
        await node.opened(user="u2")
        assert (await node.ask("/sse/connect/s1")).status == 429


@pytest.mark.gen_test
async def test_the_oldest_stream_of_the_user_may_be_replaced() -> None:
    async with serving(max_streams_per_user=2, user_cap_policy="replace") as node:
        oldest = await node.opened("s1")
        middle = await node.opened("s2")
        newest = await node.opened("s3")
        assert (await oldest.rest())[-1].json() == {"reason": "replaced", "reconnect": False}
        await node.server.publish("all", "hello")
        assert [await client.data() for client in (middle, newest)] == ["hello"] * 2
        assert node.server.stats.streams_closed == {"replaced": 1}


@pytest.mark.parametrize("reason", ["limit", "draining"])
@pytest.mark.gen_test
async def test_event_streams_are_shed_softly_and_others_hard(reason: str) -> None:
    async with serving(max_streams=1) as node:
        await node.opened()
        node.server.draining = reason == "draining"
        shed = await node.connect("s2", headers={"Accept": "text/event-stream, */*;q=0.1"})
        (farewell,) = await shed.rest()
        assert farewell.event == "stream-closing"
        assert farewell.json() == {"reason": reason, "reconnect": True}
        assert 1000 <= (farewell.retry or 0) <= 3000
        known = f"{node.server.broker.epoch}-0"
        again = await node.connect("s2", headers={"Accept": "text/event-stream", "Last-Event-ID": known})
        assert (await again.rest())[0].id == known, "who comes with a position leaves with it"
        response = await node.ask("/sse/connect/s2")
        assert response.status == 503
        assert response.json() == {"message": f"no new streams now: {reason}", "status": "SERVICE_UNAVAILABLE"}
        assert response.headers["retry-after"] == "5"
        assert node.server.stats.connects_rejected == {reason: 3}
        assert len(node.streams) == 1


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"max_streams": 1}, 503),
        ({"max_streams_per_address": 1}, 429),
        ({"max_streams_per_user": 1}, 429),
    ],
)
@pytest.mark.gen_test
async def test_two_who_come_at_once_do_not_share_the_last_place(
    clock: Clock, settings: dict[str, Any], status: int
) -> None:
    broker = Hesitant(clock)
    async with serving(clock, broker, **settings) as node:
        clients = [await node.client() for _ in range(2)]
        for client in clients:
            await client.request("/sse/connect/s1", node.bearer())
        await until(lambda: len(broker.interest) == 6)
        broker.go_on.set()
        assert sorted([(await client.response()).status for client in clients]) == [200, status]
        assert len(broker.interest) == 3, "who was turned away is not interested any more"
        assert sum(node.server.stats.connects_rejected.values()) == 1


@pytest.mark.gen_test
async def test_who_is_shed_with_an_id_that_is_no_position_is_told_of_the_gap_later() -> None:
    async with serving() as node:
        node.server.draining = True
        shed = await node.connect(headers={"Last-Event-ID": "garbage"})
        (farewell,) = await shed.rest()
        assert farewell.id
        node.server.draining = False
        client = await node.connect(headers={"Last-Event-ID": farewell.id})
        gap = await client.event()
        assert (gap.event, gap.json()["reason"]) == ("stream-gap", "unknown")


@pytest.mark.gen_test
async def test_a_node_that_begins_to_drain_meanwhile_opens_nothing_more(clock: Clock) -> None:
    broker = Hesitant(clock)
    async with serving(clock, broker) as node:
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer() | EVENT_STREAM)
        await broker.asked.wait()
        node.server.draining = True
        broker.go_on.set()
        await client.streaming()
        assert [block.json()["reason"] for block in await client.rest()] == ["draining"]
        assert broker.interest == []
        assert node.server.stats.streams_opened == 0


@pytest.mark.gen_test
async def test_a_session_that_is_disconnected_meanwhile_is_answered_204(clock: Clock) -> None:
    broker = Hesitant(clock)
    async with serving(clock, broker) as node:
        client = await node.client()
        await client.request("/sse/connect/s1", node.bearer())
        await broker.asked.wait()
        await node.server.disconnect("u1", "s1")
        broker.go_on.set()
        assert (await client.response()).status == 204
        assert broker.interest == []
        assert node.server.stats.connects_rejected == {"disconnected": 1}


TORNADOS = "Accept-Language: de\r\nAccept-Language: en\r\n"
"""A field that stands twice leaves the request to Tornado."""


async def connect_by_tornado(node: Served, session: str, accept: str = "*/*") -> Client:
    client = await node.client()
    head = f"GET /sse/connect/{session} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n{TORNADOS}"
    head += f"Authorization: {node.bearer()['Authorization']}\r\n\r\n"
    await client.send(head.encode())
    return client


def exhausted(_: socket.socket) -> socket.socket:
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.gen_test
async def test_without_a_descriptor_left_clients_whose_stream_needs_one_are_shed(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Hesitant(clock)
    broker.go_on.set()
    async with serving(clock, broker, max_streams_per_user=1, user_cap_policy="replace") as node:
        oldest = await node.opened()
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "dup", exhausted)
            shed = await connect_by_tornado(node, "s2", "text/event-stream")
            await shed.streaming()
            assert [block.json()["reason"] for block in await shed.rest()] == ["limit"]
            refused = await connect_by_tornado(node, "s2")
            assert (await refused.response()).status == 503
        assert node.server.stats.connects_rejected == {"limit": 2}
        assert len(broker.interest) == 3, "that of the oldest alone"
        await node.server.publish("all", "still there")
        assert await oldest.data() == "still there"
        again = await connect_by_tornado(node, "s2")
        await again.streaming()
        assert [stream.session for stream in node.streams] == ["s2"]


@pytest.mark.gen_test
async def test_a_stream_needs_no_second_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "dup", exhausted)
    async with serving() as node:
        client = await node.opened()
        await node.server.publish("all", "hello")
        assert await client.data() == "hello"


@pytest.mark.parametrize("tornados", [False, True])
@pytest.mark.gen_test
async def test_a_stream_that_fails_to_open_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, tornados: bool
) -> None:
    handed: list[socket.socket] = []

    def fails(connection: socket.socket, _: object, **__: object) -> None:
        handed.append(connection)
        raise OSError(errno.ENOSPC, "No space left on device")

    async with serving() as node:
        monkeypatch.setattr(node.server.registry, "open", fails)
        with capture_logs() as logs:
            if tornados:
                client = await connect_by_tornado(node, "s1")
            else:
                client = await node.client()
                await client.request("/sse/connect/s1", node.bearer())
            assert await client.read_all() == b"", "its socket is no longer HTTP's: there is no answer"
        assert [line["event"] for line in logs] == ["request failed"]
        assert [connection.fileno() for connection in handed] == [-1]


@pytest.mark.gen_test
async def test_a_broker_that_takes_no_interest_turns_the_client_away(clock: Clock) -> None:
    class Down(SlowReplay):
        async def subscribe(self, _topics: Sequence[Topic]) -> None:
            raise Unavailable("the broker is down")

    async with serving(clock, Down(clock)) as node:
        response = await node.ask("/sse/connect/s1")
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        assert node.server.stats.connects_rejected == {"broker": 1}
        shed = await node.connect()
        assert [block.json()["reason"] for block in await shed.rest()] == ["limit"]


@pytest.mark.parametrize("tornados", [False, True])
@pytest.mark.gen_test
async def test_a_client_that_is_gone_before_its_stream_opens_leaves_nothing(clock: Clock, tornados: bool) -> None:
    broker = Hesitant(clock)
    async with serving(clock, broker) as node:
        if tornados:
            client = await connect_by_tornado(node, "s1")
        else:
            client = await node.client()
            await client.request("/sse/connect/s1", node.bearer())
        await broker.asked.wait()
        assert broker.interest != []
        client.reset()
        for _ in range(3):
            assert (await node.ask("/healthz")).status == 200, "the loop has heard of the reset by now"
        with capture_logs() as logs:
            broker.go_on.set()
            await until(lambda: broker.interest == [])
        assert logs == []
        assert node.server.stats.streams_opened == 0

"""Spans of fan-outs: with the SDK's exporter in memory, through two nodes on real engines, and by OTLP."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from cli_support import Answer, scripted_server
from client_support import until
from outage_support import ENGINES, EngineFactory
from serve_support import served
from server_support import Served, serving
from tornado_sse import tracing
from tornado_sse.app import EventServer
from tornado_sse.config import ConfigProblem, Settings

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], tuple[ReadableSpan, ...]]]:
    """What was exported; the process's provider is set but once, so a tracer of another stands in."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "get_tracer", provider.get_tracer)
    yield exporter.get_finished_spans
    provider.shutdown()


Spans = Callable[[], tuple[ReadableSpan, ...]]


async def publish(node: Served, body: Any, traceparent: str = TRACEPARENT) -> int:
    headers = {"Content-Type": "application/json", "traceparent": traceparent}
    return (await node.ask("/sse/publish", headers, method="POST", body=json.dumps(body).encode())).status


def parents(spans: tuple[ReadableSpan, ...]) -> list[tuple[str, str]]:
    return [
        (format_trace_id(span.parent.trace_id), format_span_id(span.parent.span_id)) for span in spans if span.parent
    ]


@pytest.mark.gen_test
async def test_a_fan_out_has_one_span_however_many_streams(spans: Spans) -> None:
    async with serving(tracing=True) as node:
        clients = [await node.opened(f"s{n}") for n in range(3)]
        await publish(node, [{"to": "all", "data": "one"}, {"to": "all", "data": "two"}, {"to": "nowhere", "data": 1}])
        for client in clients:
            assert [await client.data() for _ in range(2)] == ["one", "two"]
        await until(lambda: len(spans()) == 2)
    assert parents(spans()) == [(TRACE, PARENT)] * 2
    first, second = spans()
    assert first.name == "tornado_sse fan-out"
    assert first.attributes
    assert first.attributes["tornado_sse.sequence"] == 1
    assert float(str(first.attributes["tornado_sse.waited"])) >= 0
    assert first.start_time
    assert second.end_time
    assert abs(first.start_time / 1e9 - node.now()) < 10
    assert first.start_time <= second.end_time


@pytest.mark.parametrize("make", [pytest.param(one, id=one.__name__) for one in ENGINES])
@pytest.mark.gen_test(timeout=20)
async def test_each_node_of_a_hub_has_a_span(make: EngineFactory, spans: Spans) -> None:
    async with (
        make() as engine,
        serving(broker=engine.url, tracing=True) as one,
        serving(broker=engine.url, tracing=True) as two,
    ):
        here, there = await one.opened("s1"), await two.opened("s2")
        await publish(one, {"to": {"user": "u1"}, "data": "hello"})
        assert [await here.data(), await there.data()] == ["hello", "hello"]
        await until(lambda: len(spans()) == 2)
    assert parents(spans()) == [(TRACE, PARENT)] * 2


@pytest.mark.parametrize(
    "traceparent",
    ["", "nonsense", TRACEPARENT + "-more", TRACEPARENT.upper(), f"00-{TRACE}-{PARENT}-00"],
)
@pytest.mark.gen_test
async def test_what_asks_for_no_trace_gets_none(traceparent: str, spans: Spans) -> None:
    async with serving(tracing=True) as node:
        client = await node.opened()
        assert await publish(node, {"to": "all", "data": "hello"}, traceparent) == 200
        assert await client.data() == "hello"
    assert spans() == ()


@pytest.mark.gen_test
async def test_off_no_message_carries_one_and_nothing_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as node:
        told: list[object] = []
        monkeypatch.setattr(node.server.registry.fanout, "trace", lambda *what: told.append(what))
        client = await node.opened()
        await publish(node, {"to": "all", "data": "hello"})
        assert await client.data() == "hello"
        assert told == []


def test_off_the_library_is_not_even_imported() -> None:
    code = (
        "import sys; from tornado_sse.app import EventServer; from tornado_sse.config import Settings; "
        f"EventServer(Settings(jwt_secret={'x' * 40!r})); "
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tornado_sse.tracing", None)
    monkeypatch.delattr("tornado_sse.tracing")
    with pytest.raises(ConfigProblem, match=r"pip install '\.\[otel\]'"):
        EventServer(Settings(jwt_secret="x" * 40, tracing=True))


@pytest.mark.gen_test(timeout=30)
async def test_a_server_exports_by_otlp_what_it_has_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(Answer(headers={"Content-Type": "application/x-protobuf"})) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "events")
        async with served(tracing="true", drain_time=0) as process:
            client = await process.opened()
            await publish(process, {"to": "all", "data": "hello"})  # type: ignore[arg-type]  # it is asked the same way
            assert await client.data() == "hello"
        assert process.logged("stopped")
        (request,) = collector.requests
    assert request.path == "/v1/traces"
    (resource,) = ExportTraceServiceRequest.FromString(request.body).resource_spans
    (span,) = resource.scope_spans[0].spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert "events" in [each.value.string_value for each in resource.resource.attributes if each.key == "service.name"]

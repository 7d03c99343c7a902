"""Spans by OpenTelemetry: one for each fan-out of a message that was published with a `traceparent`, on each node.

Imported only with the setting `tracing`: it wants the extra `otel`.
"""

from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, get_tracer, set_tracer_provider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tornado_sse import __version__
from tornado_sse.message import Message
from tornado_sse.registry import Clocks

NANOSECONDS = 1_000_000_000

_read = TraceContextTextMapPropagator().extract


def spans(clocks: Clocks) -> Callable[[Message, float, float], None]:
    """Return what makes a span of a message's fan-out, given when that began and ended (monotonic).

    The span goes to the process's tracer provider, which an application sets, or `export`.
    """
    tracer = get_tracer("tornado_sse", __version__)

    def trace(message: Message, began: float, ended: float) -> None:
        ahead = clocks.wall() - clocks.monotonic()
        span = tracer.start_span(
            "tornado_sse fan-out",
            _read({"traceparent": message.traceparent or ""}),
            kind=SpanKind.CONSUMER,
            start_time=int((began + ahead) * NANOSECONDS),
            attributes={"tornado_sse.sequence": message.sequence, "tornado_sse.waited": began - message.accepted_at},
        )
        span.end(int((ended + ahead) * NANOSECONDS))

    return trace


def export() -> Callable[[], None]:
    """Export the process's spans by OTLP over HTTP, as variables `OTEL_...` say; return what sends the last ones."""
    resource = Resource({SERVICE_NAME: "tornado-sse"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    set_tracer_provider(provider)
    return provider.shutdown

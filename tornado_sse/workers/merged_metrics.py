"""The metrics of all workers as one: each sample once more for each worker, with its number as a label."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tornado_sse.metrics import PREFIX

LABEL = "worker"


def merged(texts: Mapping[int, str]) -> list[Metric]:
    """Merge metrics in Prometheus's text format, by worker, into families that name the worker."""
    families: dict[str, Metric] = {}
    for worker, text in texts.items():
        for family in text_string_to_metric_families(text):
            into = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                into.samples.append(sample._replace(labels={LABEL: str(worker), **sample.labels}))
    return list(families.values())


def exposition(texts: Mapping[int, str | None], restarts: Mapping[int, int]) -> bytes:
    """Write the metrics of all workers; None instead of a text: that worker gave no answer.

    `restarts` is how often each worker was replaced.
    """
    answers = {worker: text for worker, text in texts.items() if text is not None}
    families = [_up({worker: worker in answers for worker in texts}), _restarts(restarts), *merged(answers)]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    return generate_latest(registry)


def _up(up: Mapping[int, bool]) -> Metric:
    family = GaugeMetricFamily(PREFIX + "worker_up", "Whether the worker answers.", labels=[LABEL])
    for worker, is_up in up.items():
        family.add_metric([str(worker)], is_up)
    return family


def _restarts(restarts: Mapping[int, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + "worker_restarts", "Times that the worker was replaced.", labels=[LABEL])
    for worker, times in restarts.items():
        family.add_metric([str(worker)], times)
    return family


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families

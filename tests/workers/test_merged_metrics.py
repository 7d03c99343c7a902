import subprocess
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tornado_sse.workers.merged_metrics import exposition

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def metrics_of(number: int) -> str:
    """What a registry of another process says; ours never has a time of creation."""
    registry = CollectorRegistry(auto_describe=False)
    Gauge("open", 'Has "quotes",\nand a line.', registry=registry).set(number)
    Counter("closed", "Why.", ["reason"], registry=registry).labels('a "b"\\c').inc(number)
    Histogram("lag_seconds", "Seconds.", buckets=[1, 2], registry=registry).observe(number)
    lines = generate_latest(registry).decode().splitlines(keepends=True)
    return "".join(line for line in lines if "_created" not in line)


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of_worker(text: str, worker: int) -> Samples:
    return {(name, labels | {("worker", str(worker))}): value for (name, labels), value in samples(text).items()}


def test_each_sample_is_there_for_each_worker_and_each_family_once() -> None:
    text = exposition({0: metrics_of(1), 1: metrics_of(2)}, {0: 0, 1: 3}).decode()
    own = {
        (name, frozenset({("worker", str(worker))})): value
        for name, values in {"tornado_sse_worker_up": (1, 1), "tornado_sse_worker_restarts_total": (0, 3)}.items()
        for worker, value in enumerate(values)
    }
    assert samples(text) == of_worker(metrics_of(1), 0) | of_worker(metrics_of(2), 1) | own
    for kind in ("HELP", "TYPE"):
        described = [line.split()[2] for line in text.splitlines() if line.startswith(f"# {kind} ")]
        assert len(described) == len(set(described))


def test_a_worker_without_an_answer_is_left_out_and_counted() -> None:
    found = samples(exposition({0: metrics_of(1), 1: None}, {0: 0, 1: 0}).decode())
    assert {value for (name, labels), value in found.items() if ("worker", "1") in labels} == {0}
    assert found["tornado_sse_worker_up", frozenset({("worker", "1")})] == 0
    assert found["open", frozenset({("worker", "0")})] == 1


def test_promtool_reads_it(need_program: Callable[[str], str]) -> None:
    text = exposition({0: metrics_of(1), 1: metrics_of(2), 2: None}, {0: 0, 1: 3, 2: 0})
    promtool = need_program("promtool")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")

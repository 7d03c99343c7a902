"""The chart and the manifests made from it: what the API's schemas say of them, and with `make ops` what Helm does."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import validate  # type: ignore[import-untyped]  # it has no types

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "tornado-sse"
MANIFESTS = ROOT / "deploy" / "kubernetes"
CUSTOM = {"ServiceMonitor"}
"""Kinds that the API server itself does not know."""

Template = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def template(need_program: Callable[[str], str]) -> Template:
    helm = need_program("helm")

    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        command = [helm, "template", "--kube-version", "1.33.0", "event-streams", str(CHART), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


def manifests(text: str) -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def variables(text: str) -> dict[str, str]:
    (container,) = manifests(text)["Deployment"]["spec"]["template"]["spec"]["containers"]
    return {each["name"].removeprefix("TORNADO_SSE_"): each["value"] for each in container["env"]}


COMMITTED = manifests((MANIFESTS / "tornado-sse.yaml").read_text())


@pytest.mark.ops
def test_the_manifests_are_what_the_chart_makes(template: Template) -> None:
    made = template("--values", str(MANIFESTS / "values.yaml"))
    assert made.stdout == (MANIFESTS / "tornado-sse.yaml").read_text(), "run `make manifests`"


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("kind", sorted(COMMITTED.keys() - CUSTOM))
def test_the_api_knows_every_field(kind: str, version: str) -> None:
    validate(COMMITTED[kind], version, strict=True)


def test_all_that_is_promised_is_there() -> None:
    assert COMMITTED.keys() == {
        *("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor")
    }


@pytest.mark.ops
def test_the_grace_period_has_room_for_the_drain(template: Template) -> None:
    pod = manifests(template("--set", "drainTime=60,preStopSeconds=7").stdout)["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 77
    assert pod["enableServiceLinks"] is False, "a Service's variables would be read as settings"


@pytest.mark.ops
def test_settings_arrive_as_they_were_written(template: Template) -> None:
    given = "settings.max_streams=20000000,settings.compression=true,settings.retry=2.5"
    made = variables(template("--set", given).stdout)
    assert (made["MAX_STREAMS"], made["COMPRESSION"], made["RETRY"]) == ("20000000", "true", "2.5")


@pytest.mark.ops
def test_several_pods_want_a_broker_and_one_does_not(template: Template) -> None:
    assert "set broker.url" in template("--set", "broker.url=").stderr
    assert "BROKER" not in variables(template("--set", "broker.url=,replicas=1").stdout)

"""The container's files, judged by linters: there need be no engine."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose.yaml"


def passes(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_has_no_fault_known_to_hadolint(need_program: Callable[[str], str]) -> None:
    passes(need_program("hadolint"), ROOT / "Dockerfile")


def test_the_compose_file_is_as_its_schema_says(need_program: Callable[[str], str]) -> None:
    passes(need_program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE)


def mounted() -> list[str]:
    services = yaml.safe_load(COMPOSE.read_text())["services"].values()
    volumes = (volume for service in services for volume in service.get("volumes", ()))
    return [volume.partition(":")[0] for volume in volumes if volume.startswith(".")]


@pytest.mark.parametrize("path", mounted())
def test_what_is_mounted_is_there(path: str) -> None:
    assert (COMPOSE.parent / path).exists()


def test_the_image_has_what_the_wheel_is_built_from() -> None:
    (copied,) = [line.split()[1:-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if "pyproject" in line]
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in (*copied, "tornado_sse")} < set(kept)

"""The units, judged by systemd's own program."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = ["tornado-sse.service", "tornado-sse@8081.service"]
BOUND = 2.0


def analyze(program: str, *arguments: str | Path) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as they are, but that the program is where it is on this machine."""
    for source in (*FOLDER.glob("*.service"), *FOLDER.glob("*.socket")):
        text = source.read_text().replace("/opt/tornado-sse/bin", str(Path(sys.executable).parent))
        (tmp_path / source.name.replace("@", "@8081")).write_text(text)
    return tmp_path


def test_nothing_in_them_is_misspelled(units: Path, need_program: Callable[[str], str]) -> None:
    assert analyze(need_program("systemd-analyze"), "verify", *units.iterdir()) == ""


@pytest.mark.parametrize("service", SERVICES)
def test_little_is_left_to_an_intruder(service: str, units: Path, need_program: Callable[[str], str]) -> None:
    report = analyze(need_program("systemd-analyze"), "security", "--offline=true", "--no-pager", units / service)
    exposures = re.findall(r"exposure level for .*: ([\d.]+)", report)
    assert [exposure for exposure in map(float, exposures) if exposure >= BOUND] == []
    assert len(exposures) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_a_stop_leaves_time_to_drain_and_descriptors_suffice(service: str, units: Path) -> None:
    options = dict(re.findall(r"^(\w+)=(.*)$", (units / service).read_text(), re.MULTILINE))
    assert int(options["TimeoutStopSec"]) > 20
    assert int(options["LimitNOFILE"]) >= 100_000
    assert options["Type"] == "notify"

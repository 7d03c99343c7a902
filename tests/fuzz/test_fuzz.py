"""Fuzzing: bytes that nobody would send, at whatever reads them. make fuzz looks for more, led by coverage."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz_requests import attacked
from fuzz_targets import TARGETS, inputs

EXAMPLES = 100
CORPUS = [pytest.param(name, path, id=f"{name}-{path.name}") for name in TARGETS for path in inputs(name)]
WORDS = [b"", b"\0", b"\r\n", b"\n", b" ", b":", b'"', b"\\", b"%", b"[", b"{", b"-", b"9" * 30, b"\xff", b"\xc3\xa9"]


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    if attacked.cache_info().currsize:
        attacked().close()
        attacked.cache_clear()


@st.composite
def changed(draw: st.DrawFn, name: str) -> bytes:
    """An input of the corpus, some bytes of which are others, or one's beginning and another's end."""
    known = st.sampled_from(inputs(name)).map(Path.read_bytes)
    data = draw(known)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 8))
        data = data[:start] + draw(st.sampled_from(WORDS) | st.binary(max_size=8)) + data[end:]
    return data[: len(data) // 2] + draw(known)[len(data) // 2 :] if draw(st.booleans()) else data


@pytest.mark.parametrize(("name", "path"), CORPUS)
def test_what_was_found_is_mended(name: str, path: Path) -> None:
    TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_near_to_it_holds(name: str) -> None:
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=200) | changed(name))
    def hold(data: bytes) -> None:
        TARGETS[name](data)

    hold()

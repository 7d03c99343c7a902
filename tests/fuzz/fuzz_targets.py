"""What is fuzzed, by name. A target takes any bytes and raises for those that something is wrong with."""

from collections.abc import Callable
from pathlib import Path

from fuzz_decoders import nats, redis, report
from fuzz_inputs import address, bearer, body, channels, last_event_id, minted, signed
from fuzz_requests import request

CORPUS = Path(__file__).with_name("corpus")
"""For each target a folder: inputs to begin with, and those that something was wrong with."""

Target = Callable[[bytes], None]

TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (request, bearer, signed, minted, body, last_event_id, address, channels, nats, redis, report)
}


def inputs(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())

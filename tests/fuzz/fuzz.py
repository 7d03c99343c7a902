"""Fuzzing led by coverage, with atheris: `fuzz.py [TARGET ...] [OPTION ...]`, options as libFuzzer has them.

Without a target all are tried in turn. What is learnt is kept in .fuzz, and so is an input that something is wrong
with: mend that, and add it to the target's folder in the corpus, which the tests replay.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tornado", "tornado_sse"]):
    from fuzz_targets import CORPUS, TARGETS

LEARNT = Path(".fuzz")
USUAL = ["-max_total_time=60", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]


def fuzz(name: str, options: Sequence[str]) -> None:
    """Fuzz in this process, which ends with it."""
    learnt = LEARNT / name
    learnt.mkdir(parents=True, exist_ok=True)
    words = [*USUAL, f"-dict={CORPUS / 'words.dict'}", f"-artifact_prefix={learnt}-", *options]
    atheris.Setup([sys.argv[0], *words, str(learnt), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


def main(arguments: Sequence[str]) -> int:
    options = [word for word in arguments if word.startswith("-")]
    names = [word for word in arguments if word not in options] or list(TARGETS)
    if len(names) == 1:
        fuzz(names[0], options)
    ends = [subprocess.call([sys.executable, __file__, name, *options]) for name in names]
    return max(ends)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

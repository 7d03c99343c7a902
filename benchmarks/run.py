"""Measures tornado_sse against the least that a server could do. See README.md beside this file."""

import argparse
import tempfile
from pathlib import Path

import results
from programs import HERE, build
from sections import SECTIONS, Bench

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"all, or some of: {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each section; the median counts")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size: to see that it works")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder to write to")
    options = parser.parse_args()
    unknown = set(options.sections) - {*SECTIONS, "all"}
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    chosen = list(SECTIONS) if not options.sections or "all" in options.sections else options.sections
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        for name in chosen:
            rows = measure(Bench(Path(folder), options.quick), name, options.rounds)
            everything = results.save(options.results, name, rows, rounds=options.rounds, quick=options.quick)
            print(results.table(name, rows), flush=True)
    results.write_page(options.results, everything)
    results.plot(options.results, everything)


def measure(bench: Bench, name: str, rounds: int) -> results.Rows:
    """Run the rounds of a section; within a round the servers take turns."""
    rows: results.Rows = {}
    for index in range(rounds):
        print(f"{name}: round {index + 1} of {rounds}", flush=True)
        for what, kind, value in SECTIONS[name](bench):
            rows.setdefault(what, {}).setdefault(kind, []).append(value)
    return rows


if __name__ == "__main__":
    main()

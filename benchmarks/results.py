"""Figures of all rounds, as JSON, as a table of ratios and as a plot."""

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from programs import FLOOR, LEAST, LIMIT, OURS

Rows = dict[str, dict[str, list[float]]]
"""What, of which server, in each round."""

COSTS = ("CPU", "KiB", "p50", "p99")
"""How figures begin of which less is better."""


def machine() -> dict[str, Any]:
    """Say where it was measured."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(": ")[2] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "tornado": version("tornado"),
    }


def save(folder: Path, section: str, rows: Rows, *, rounds: int, quick: bool) -> dict[str, Any]:
    """Put a section's figures among those that are there."""
    folder.mkdir(exist_ok=True)
    path = folder / "results.json"
    everything: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    everything[section] = {
        "measured": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "rounds": rounds,
        "quick": quick,
        "rows": rows,
    }
    path.write_text(json.dumps(everything, indent=1) + "\n")
    return everything


def table(section: str, rows: Rows) -> str:
    """Return a section as a Markdown table: medians of the rounds, and ours to the limit."""
    kinds = [OURS, LIMIT, *(kind for kind in (FLOOR, LEAST) if any(kind in servers for servers in rows.values()))]
    lines = [f"| {section} | " + " | ".join(kinds) + " | ours / limit |", "|---|" + "---:|" * (len(kinds) + 1)]
    for what, servers in rows.items():
        values = [number(median(servers[kind])) if kind in servers else "" for kind in kinds]
        lines.append(f"| {what} | " + " | ".join(values) + f" | {ratio(servers)} |")
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004 - where thousands begin


def ratio(servers: dict[str, list[float]]) -> str:
    """Return ours to the limit, or nothing where one of them is missing."""
    if not all(kind in servers and median(servers[kind]) for kind in (LIMIT, OURS)):
        return ""
    return f"{median(servers[OURS]) / median(servers[LIMIT]):.2f}"


def share(what: str, servers: dict[str, list[float]]) -> float:
    """Return how near ours is to the limit; above 1 is better, of costs as well."""
    ours, limit = median(servers[OURS]), median(servers[LIMIT])
    return limit / ours if what.startswith(COSTS) else ours / limit


def write_page(folder: Path, everything: dict[str, Any]) -> None:
    """Write all sections as one page."""
    parts = [
        "# Results\n",
        "Medians. The limit is limit.c: one send() a delivery, and nothing else. Bare Python is the same in Python.\n",
    ]
    for section, found in everything.items():
        where = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
        size = "a tenth of the size, " if found["quick"] else ""
        parts.append(f"{table(section, found['rows'])}\n{size}rounds {found['rounds']}, {found['measured']}, {where}\n")
    (folder / "results.md").write_text("\n".join(parts))


def plot(folder: Path, everything: dict[str, Any]) -> None:
    """Draw how near ours is to the limit, wherever both were measured; needs matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional
    except ImportError:
        print("no plot: install the dependency group bench for one")
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - same

    pairs = [
        (what, share(what, servers))
        for found in everything.values()
        for what, servers in found["rows"].items()
        if ratio(servers)
    ]
    if not pairs:
        return
    names, values = zip(*reversed(pairs), strict=True)
    mpl.rcParams["svg.hashsalt"] = "bench"
    figure, axes = plt.subplots(figsize=(9, 1 + 0.32 * len(pairs)), layout="constrained")
    bars = axes.barh(names, values, color="#3b6ea8")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.axvline(1, color="#444", linewidth=1)
    figure.suptitle(
        "How near tornado_sse is to a C program that only calls send() (1: as good, above: better)", fontsize=11
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    for kind in ("png", "svg"):
        figure.savefig(folder / f"results.{kind}", dpi=150, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)

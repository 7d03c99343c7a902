"""Draws the dashboard from a real Prometheus's data, after some minutes with faults: `make pictures` runs it.

Not Grafana, whose program is no package of any registry: matplotlib, in the same places, with the same expressions.
"""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from grafana.dashboard import PATH, ROWS
from nats_support import NatsServer
from ops_faults import Scene, bad_tokens, broker_killed, clients_stop_reading, loop_stalled
from ops_load import load
from prometheus_support import JOB, Prometheus, Series, prometheus
from serve_support import served

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PARTS = {
    "service": ("Service level", "Traffic"),
    "streams": ("Streams", "Back-pressure", "Resume and gaps"),
    "process": ("Broker", "Process and loop"),
}
CALM, FAULT = 30.0, 12.0
"""Seconds between two faults, and of each."""

LENGTH = 5 * CALM + 4 * FAULT
ALERTS = 'ALERTS{alertstate="firing",alertname!~".*Slow"}'
"""Drawn as a reddish background; those that look three days back would colour all that follows."""

UNITS = {"s": "s", "cps": "/s", "Bps": "B/s", "bytes": "B", "percentunit": "%", "none": ""}
STYLE: dict[str, Any] = {
    "figure.facecolor": "#111217",
    "axes.facecolor": "#181b1f",
    "axes.edgecolor": "#2c3235",
    "axes.labelcolor": "#ccccdc",
    "axes.titlecolor": "#ccccdc",
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "grid.color": "#2c3235",
    "legend.labelcolor": "#ccccdc",
    "text.color": "#ccccdc",
    "xtick.color": "#9fa7b3",
    "ytick.color": "#9fa7b3",
    "font.size": 7,
}
SETTINGS: dict[str, Any] = {"broker_probe": 0.3, "canary": 0.5, "outbox_age": 3, "outbox_bytes": 4_000_000}
Data = dict[str, list[Series]]


async def observed(folder: Path) -> tuple[float, Data]:
    """Live through some minutes with faults; return when it began, and what each expression was meanwhile."""
    broker = NatsServer()
    broker.start()
    program = shutil.which("prometheus") or "prometheus"
    try:
        async with (
            served(broker=broker.url, max_streams=100, **SETTINGS) as server,
            load(server),
            prometheus(program, folder, server.admin_port) as asked,
        ):
            await asyncio.sleep(10)
            began = time.time()
            await _story(Scene(server, broker))
            return began, await _read(asked, began, time.time())
    finally:
        broker.close()


async def _story(scene: Scene) -> None:
    for fault in (clients_stop_reading(scene), broker_killed(scene), bad_tokens(scene.server), loop_stalled(scene)):
        await asyncio.sleep(CALM)
        async with fault:
            await asyncio.sleep(FAULT)
    await asyncio.sleep(CALM)


async def _read(asked: Prometheus, began: float, ended: float) -> Data:
    exprs = {target["expr"] for panel in panels() for target in panel["targets"]}
    return {expr: await asked.between(_filled_in(expr), began, ended) for expr in exprs | {ALERTS}}


def _filled_in(expr: str) -> str:
    return expr.replace("$__rate_interval", "5s").replace("$job", JOB).replace("$instance", ".*")


def panels() -> list[dict[str, Any]]:
    """Every panel of the dashboard."""
    return [panel for panel in json.loads(PATH.read_text())["panels"] if panel["type"] != "row"]


def draw(name: str, rows: Sequence[str], began: float, data: Data) -> None:
    """Draw these rows of the dashboard."""
    titles = {panel.title for row in ROWS if row.title in rows for panel in row.panels}
    shown = [panel for panel in panels() if panel["title"] in titles]
    top = min(panel["gridPos"]["y"] for panel in shown) - 1
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in shown) - top
    figure = plt.figure(figsize=(14, height * 0.36), dpi=110)
    for panel in shown:
        place = panel["gridPos"]
        left, bottom = place["x"] / 24 + 0.04, 1 - (place["y"] - top + place["h"]) / height + 1.3 / height
        axes = figure.add_axes((left, bottom, place["w"] / 24 - 0.05, (place["h"] - 2.6) / height))
        (draw_graph if panel["type"] == "timeseries" else draw_figures)(axes, panel, began, data)
    for panel in json.loads(PATH.read_text())["panels"]:
        if panel["title"] in rows:
            figure.text(0.01, 1 - (panel["gridPos"]["y"] - top + 0.6) / height, panel["title"], fontsize=11)
    figure.savefig(IMAGES / f"dashboard-{name}.png")
    plt.close(figure)


def draw_figures(axes: Axes, panel: dict[str, Any], _began: float, data: Data) -> None:
    """Draw the last values of a panel, large."""
    axes.set_title(panel["title"])
    axes.axis("off")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    values = [(legend, value[-1]) for legend, _, value in lines(panel, 0, data)]
    for number, (legend, value) in enumerate(values):
        across = (number + 0.5) / len(values)
        axes.text(across, 0.45, spelled(value, unit), ha="center", va="center", fontsize=20, color="#73bf69")
        axes.text(across, -0.1, legend, ha="center")


def draw_graph(axes: Axes, panel: dict[str, Any], began: float, data: Data) -> None:
    """Draw a panel over time."""
    shown = panel["fieldConfig"]["defaults"]
    found = [line for line in lines(panel, began, data) if not panel_is_stacked(shown) or np.nanmax(line[2]) > 0]
    axes.set_title(panel["title"])
    axes.grid(visible=True, linewidth=0.5)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: spelled(value, shown["unit"])))
    if found and panel_is_stacked(shown):
        seconds = np.arange(max(times[-1] for _, times, _ in found) + 1)
        values = [np.nan_to_num(np.interp(seconds, times, value, left=0)) for _, times, value in found]
        axes.stackplot(seconds, values, labels=[legend for legend, _, _ in found], alpha=0.6)
    else:
        for legend, times, value in found:
            axes.plot(times, value, label=legend, linewidth=1)
    for step in shown["thresholds"]["steps"][1:]:
        axes.axhline(step["value"], color="#f2495c", linestyle="--", linewidth=0.8)
    firing = {time for series in data[ALERTS] for time, _ in series["values"]}
    for moment in firing:
        axes.axvspan(moment - began, moment - began + 1, color="#f2495c", alpha=0.12, linewidth=0)
    axes.set_ylim(0, max(axes.get_ylim()[1], *(np.nanmax(value) * 1.1 for *_, value in found), 0))
    axes.set_xlim(0, LENGTH)
    if found:
        columns = 5 if panel["gridPos"]["w"] > 6 else 2
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncol=columns, frameon=False, fontsize=6)


def panel_is_stacked(shown: dict[str, Any]) -> bool:
    """Whether its series add up."""
    return bool(shown["custom"].get("stacking"))


def lines(panel: dict[str, Any], began: float, data: Data) -> list[tuple[str, Any, Any]]:
    """Return each series of a panel: its legend, its seconds since the beginning, its values."""
    found = []
    for target in panel["targets"]:
        for series in data[target["expr"]]:
            times, values = np.array(series["values"], dtype=float).T
            found.append((legend_of(target["legendFormat"], series["metric"]), times - began, values))
    return found


def legend_of(form: str, labels: dict[str, str]) -> str:
    """Put labels in, as Grafana does."""
    for name in ("instance", "worker", "reason", "result", "version"):
        form = form.replace(f"{{{{{name}}}}}", labels.get(name, ""))
    return form.strip()


def spelled(value: float, unit: str) -> str:
    """Write a value with its unit, short."""
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    if unit == "s" and 0 < value < 1:
        return f"{value * 1000:.3g} ms"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}{UNITS[unit]}"
    return f"{value:.3g} {UNITS[unit]}"


if __name__ == "__main__":
    mpl.use("agg")
    plt.style.use(STYLE)
    with tempfile.TemporaryDirectory() as made:
        start, seen = asyncio.run(observed(Path(made)))
    for part, headings in PARTS.items():
        draw(part, headings, start, seen)

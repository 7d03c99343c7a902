"""A panel as we describe it, and as Grafana's own library builds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef, Threshold, ThresholdsMode

from grafana.links import section
from grafana.queries import Query

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GRAPH_HEIGHT, BIG_HEIGHT = 7, 4


@dataclass(frozen=True)
class Panel:
    """One panel. `unit` is Grafana's name of it; `alert_at` is where an alert stands, `worse` on which side of it.

    `width` is in columns, of which there are 24; `empty` is shown where there are no data, and says why.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    alert_at: float | None = None
    worse: str = "above"
    big: bool = False
    stacked: bool = False
    width: int = 8
    empty: str = "no data"


@dataclass(frozen=True)
class Row:
    """Panels under a heading, which the runbook has as well."""

    title: str
    panels: Sequence[Panel]


def build(panel: Panel, row: Row, number: int) -> stat.Panel | timeseries.Panel:
    """Make it, with a number of its own within the dashboard."""
    made = _big(panel) if panel.big else _graph(panel)
    made.id(number).height(BIG_HEIGHT if panel.big else GRAPH_HEIGHT)
    link = dashboard.DashboardLink("Runbook").type(DashboardLinkType.LINK).url(section(row.title)).target_blank(True)
    made.title(panel.title).description(panel.description).unit(panel.unit).no_value(panel.empty)
    made.datasource(SOURCE).links([link]).thresholds(_thresholds(panel)).span(panel.width)
    for letter, query in zip(ascii_uppercase, panel.queries, strict=False):
        made.with_target(_target(query, letter, now=panel.big))
    return made


def _big(panel: Panel) -> stat.Panel:
    made = (
        stat.Panel()
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    colour = shapes.BigValueColorMode.NONE if panel.alert_at is None else shapes.BigValueColorMode.VALUE
    return made.color_mode(colour)


def _graph(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().line_width(1).fill_opacity(30 if panel.stacked else 8).axis_soft_min(0)
    made.show_points(shapes.VisibilityMode.NEVER).legend(_legend())
    made.tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING))
    if panel.stacked:
        made.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL))
    if panel.alert_at is not None:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED))
    return made


def _legend() -> common.VizLegendOptions:
    made = common.VizLegendOptions().show_legend(True).display_mode(shapes.LegendDisplayMode.LIST)
    return made.placement(shapes.LegendPlacement.BOTTOM)


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    colours = ("green", "red") if panel.alert_at is None or panel.worse == "above" else ("red", "green")
    bounds = (None,) if panel.alert_at is None else (None, panel.alert_at)
    steps = [Threshold(value=bound, color=colour) for bound, colour in zip(bounds, colours, strict=False)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _target(query: Query, name: str, *, now: bool) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(name).datasource(SOURCE)
    return made.instant() if now else made.range()

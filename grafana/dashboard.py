"""The dashboard, out of its rows. `make dashboards` writes it; a test holds what is written against it."""

from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, VariableOption, VariableRefresh, VariableSort

from grafana.node_rows import BROKER, PRESSURE, PROCESS, RESUME
from grafana.panels import SOURCE, build
from grafana.service_rows import RESTARTS, SERVICE, STREAMS, TRAFFIC

UID = "tornado-sse"
PATH = Path(__file__).parent / "dashboards" / "tornado-sse.json"
ROWS = (SERVICE, TRAFFIC, STREAMS, PRESSURE, RESUME, BROKER, PROCESS)


def text() -> str:
    """Write it as Grafana reads it."""
    made = dashboard.Dashboard("Event streams").uid(UID).tags(["tornado-sse"]).timezone("browser").readonly()
    made.description("tornado_sse: whether events get to the browsers, and what it takes.")
    made.refresh("30s").time("now-3h", "now").tooltip(DashboardCursorSync.CROSSHAIR)
    for variable in _variables():
        made.with_variable(variable)
    made.annotation(_mark("Restarts", RESTARTS, "orange"))
    made.annotation(_mark("Alerts", 'ALERTS{alertstate="firing",alertname=~"TornadoSse.*",job="$job"}', "red"))
    numbers = count(1)
    for row in ROWS:
        made.with_row(dashboard.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            made.with_panel(build(panel, row, next(numbers)))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _variables() -> list[dashboard.DatasourceVariable | dashboard.QueryVariable]:
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    job = _query("job", "Job", "label_values(tornado_sse_build_info, job)")
    instance = _query("instance", "Instance", 'label_values(tornado_sse_build_info{job="$job"}, instance)')
    everything = VariableOption(selected=True, text="All", value="$__all")
    return [source, job, instance.multi(True).include_all(True).all_value(".*").current(everything)]


def _query(name: str, label: str, query: str) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).label(label).query(query).datasource(SOURCE)
    return made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)


def _mark(name: str, expr: str, colour: str) -> dashboard.AnnotationQuery:
    return dashboard.AnnotationQuery().name(name).expr(expr).datasource(SOURCE).enable(True).icon_color(colour)


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")

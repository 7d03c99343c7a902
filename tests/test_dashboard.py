"""The dashboard that is committed is the one that its source makes, and has what operations ask of each panel."""

import json
import re
from typing import Any

import pytest
import yaml

from grafana.dashboard import PATH, ROWS, UID, text
from grafana.links import RUNBOOK
from promtool_support import PROMETHEUS, RULES

ROOT = PROMETHEUS.parents[1]
DASHBOARD: dict[str, Any] = json.loads(PATH.read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TITLES = [panel["title"] for panel in PANELS]


def test_what_is_committed_is_what_the_source_makes() -> None:
    assert PATH.read_text() == text(), "run `make dashboards`"


def test_it_has_a_place_of_its_own() -> None:
    assert DASHBOARD["uid"] == UID
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert len(set(TITLES)) == len(TITLES)


def test_data_source_job_and_instance_can_be_chosen() -> None:
    assert [(one["name"], one["type"]) for one in DASHBOARD["templating"]["list"]] == [
        ("datasource", "datasource"),
        ("job", "query"),
        ("instance", "query"),
    ]


def test_restarts_and_alerts_are_marked() -> None:
    marks = {mark["name"]: mark["expr"] for mark in DASHBOARD["annotations"]["list"]}
    assert marks.keys() == {"Restarts", "Alerts"}
    assert "process_start_time_seconds" in marks["Restarts"]


@pytest.mark.parametrize("panel", PANELS, ids=TITLES)
def test_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    shown = panel["fieldConfig"]["defaults"]
    assert shown["unit"]
    assert shown["thresholds"]["steps"][0]["value"] is None
    assert panel["description"].endswith(".")
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert "$job" in target["expr"], "it would show other services as well"
        assert target["legendFormat"]
        assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("panel", PANELS, ids=TITLES)
def test_panel_leads_to_a_section_of_the_runbook(panel: dict[str, Any]) -> None:
    (link,) = panel["links"]
    page, _, anchor = link["url"].partition("#")
    titles = re.findall(r"^### (.*)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert page == RUNBOOK
    assert anchor in {title.lower().replace(" ", "-") for title in titles}


def test_where_a_line_is_drawn_an_alert_stands() -> None:
    bounds = re.findall(r"(?:[<>] |le=.)([\d.]+)\b", "".join(path.read_text() for path in RULES))
    lines = {panel.title: panel.alert_at for row in ROWS for panel in row.panels if panel.worse == "above"}
    assert {title for title, at in lines.items() if at is not None and f"{at:g}" not in bounds} == set()


def test_rules_and_panels_lead_to_the_same_runbook() -> None:
    assert set(re.findall(r"runbook_url: (.*)#", (PROMETHEUS / "alerts.yml").read_text())) == {RUNBOOK}


def test_grafana_is_told_where_all_is() -> None:
    folder = ROOT / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "tornado-sse.yml").read_text())["providers"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"

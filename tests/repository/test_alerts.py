"""Alerts and dashboard name series that exist, with labels that they have, and each alert has its remedy."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from bentos.live_recommender.metrics import process_metrics
from livealign.home import Home
from livealign.retrain.series import series_of
from tests.repository.test_documents import anchors_of

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
RULES = ROOT / "containers" / "prometheus" / "livealign_rules.yaml"
DASHBOARD = ROOT / "containers" / "grafana" / "livealign_dashboard.json"
SCRAPED = {"instance", "job", "le"}  # labels that Prometheus adds
WANTED = {"Stale", "Degraded", "ServerErrors", "EventsRejected", "RetrainLate", "GateRefusedTwice", "ContentDrifted"}


def exported(tmp_path: Path) -> dict[str, set[str]]:
    """Labels by name of every series, as it stands on the page that Prometheus reads."""
    import prometheus_client

    process_metrics()
    labels: dict[str, set[str]] = {}
    for metric in vars(prometheus_client.REGISTRY)["_collector_to_names"]:
        if getattr(metric, "_name", "").startswith("livealign_"):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            endings = ("_bucket", "_sum", "_count") if metric._type == "histogram" else ("",)
            labels |= {name + ending: set(metric._labelnames) for ending in endings}
    home = Home(tmp_path, "simulator")
    home.releases.mkdir(parents=True)
    (home.releases / "champion").write_text("2025-06-09-0123456789ab\n")
    summary = {"total_seconds": 1.0, "drift": {"content_drifted": False}}
    return labels | {series.name: {"platform"} for series in series_of(home, date(2025, 6, 9), summary, 0.0)}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return panels + [one["expr"] for one in dashboard["annotations"]["list"]]


def labels_in(query: str) -> set[str]:
    """Labels that a query selects or groups by."""
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query)
    grouped = [name.strip() for names in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", query) for name in names.split(",")]
    return {*selected, *grouped}


@pytest.mark.parametrize("query", [*(rule["expr"] for rule in rules()), *dashboard_queries()])
def test_a_query_names_series_and_labels_that_are_exported(query: str, tmp_path: Path) -> None:
    known = exported(tmp_path)
    named = re.findall(r"\blivealign_\w+", query)
    assert named
    assert [name for name in named if name not in known] == []
    allowed = SCRAPED.union(*(known[name] for name in named))
    assert labels_in(query) <= allowed
    assert query.count("(") == query.count(")")


def test_every_series_of_the_service_and_the_retrain_is_on_the_dashboard_or_alerts(tmp_path: Path) -> None:
    text = " ".join([*dashboard_queries(), *(rule["expr"] for rule in rules())])
    base = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported(tmp_path)}
    assert {name for name in base if name not in text} <= {
        "livealign_encode_batch_texts",  # for who tunes the refresh
        "livealign_retrain_day_timestamp_seconds",  # which day; the time of the retrain says whether it is late
    }


def test_each_alert_says_what_is_wrong_and_links_a_heading_that_names_the_remedy() -> None:
    found = rules()
    names = [rule["alert"] for rule in found]
    assert len(names) == len(set(names))
    assert {f"LiveAlign{name}" for name in WANTED} <= set(names)
    operations = (ROOT / "docs" / "operations.md").read_text()
    for rule in found:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "warn", "info")
        assert rule["annotations"]["summary"].endswith(".")
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert anchor in anchors_of(operations), rule["alert"]
        assert f"`{rule['alert']}`" in operations
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))


def test_the_dashboards_panels_have_ids_places_and_a_source_of_their_own() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource"}

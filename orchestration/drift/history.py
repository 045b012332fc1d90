"""The earlier days whose content had drifted, read from their own drift reports."""

from datetime import date

from livealign.files import read_json
from livealign.retrain.artifacts import DayArtifacts
from orchestration.resources import Workspace

VERDICTS = "drift.json"


def drifted_days(workspace: Workspace, day: date) -> list[date]:
    """The training days of `day` whose own report found drifted content, oldest first."""
    reports = {past: DayArtifacts.of(workspace.home, past).drift / VERDICTS for past in workspace.training_days(day)}
    return [past for past, file in reports.items() if file.exists() and read_json(file)["verdict"]["content_drifted"]]

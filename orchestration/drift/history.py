"""Which earlier days had drifted content: what the tuning of the LLM asks, read from the reports that those days left."""

from datetime import date

from livealign.files import read_json
from livealign.retrain.artifacts import DayArtifacts
from orchestration.resources import Workspace

VERDICTS = "drift.json"


def drifted_days(workspace: Workspace, day: date) -> list[date]:
    """The training days of `day` whose content had drifted when they were the newest, oldest first."""
    reports = {one: DayArtifacts.of(workspace.home, one).drift / VERDICTS for one in workspace.training_days(day)}
    return [one for one, file in reports.items() if file.exists() and read_json(file)["verdict"]["content_drifted"]]

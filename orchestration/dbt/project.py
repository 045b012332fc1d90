"""The dbt project in Dagster: manifest, environment, and asset keys of its models."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import AssetKey
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, DbtProject

from livealign.files import exclusive
from livealign.home import Home
from orchestration.runs.daily_asset import OWNERS

PROJECT_FOLDER = Path(__file__).parents[2] / "dbt_project"


def prepared_project() -> DbtProject:
    """The dbt project with an up-to-date manifest, which `@dbt_assets` needs.

    This is the only place that makes the manifest. Processes that load the graph at the same time wait for each other.
    """
    project = DbtProject(PROJECT_FOLDER)
    target = PROJECT_FOLDER / "target"
    target.mkdir(exist_ok=True)
    with exclusive(target / ".lock"):
        if _is_stale(project.manifest_path):
            dbt_resource(project).cli(["parse", "--quiet"], target_path=project.project_dir / project.target_path).wait()
    return project


def _is_stale(manifest: Path) -> bool:
    if not manifest.exists():
        return True
    sources = [path for pattern in ("*.yml", "**/*.sql", "models/**/*.yml") for path in PROJECT_FOLDER.glob(pattern)]
    return manifest.stat().st_mtime < max(path.stat().st_mtime for path in sources if "target" not in path.parts)


def dbt_environment(home: Home) -> None:
    """Set the variables by which dbt finds this workspace's landing and warehouse."""
    os.environ.update(
        LIVEALIGN_LANDING=str(home.landing),
        LIVEALIGN_WAREHOUSE_FILE=str(home.warehouse_file),
        DBT_LOG_PATH=str(home.warehouse / "logs"),
        DBT_SEND_ANONYMOUS_USAGE_STATS="false",
    )


def set_days(first: str, last: str) -> None:
    """Set the days for dbt to build, `YYYY-MM-DD`, both included (dbt_project/macros/days.sql)."""
    os.environ.update(LIVEALIGN_START_DAY=first, LIVEALIGN_END_DAY=last)


def dbt_resource(project: DbtProject) -> DbtCliResource:
    """The dbt of this Python environment, even if it is not on PATH."""
    executable = Path(sys.executable).parent / "dbt"
    return DbtCliResource(project_dir=project, dbt_executable=str(executable), global_config_flags=["--no-use-colors"])


class WarehouseTranslator(DagsterDbtTranslator):
    """Asset keys of dbt's models and sources.

    Sources are the landing assets; all models are in the group `warehouse`, keyed by layer and name.
    """

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_asset_checks=True, enable_source_tests_as_checks=False))

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> AssetKey:
        if dbt_resource_props["resource_type"] == "source":
            return AssetKey(["landing", dbt_resource_props["name"]])
        return AssetKey(["warehouse", dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        return "warehouse"

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str] | None:
        return [OWNERS["warehouse"]]

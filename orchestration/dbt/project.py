"""The dbt project in Dagster: manifest, environment, and asset keys of its models."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import AssetKey
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, DbtProject
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from livealign.errors import LiveAlignError
from livealign.files import exclusive
from livealign.home import Home
from orchestration.dbt.metadata import dbt_failure
from orchestration.runs.daily_asset import OWNERS

PROJECT_FOLDER = Path(__file__).parents[2] / "dbt_project"  # of the source tree, or of an installed wheel
KEPT_RUNS = 20


def prepared_project(home: Home) -> DbtProject:
    """The dbt project with an up-to-date manifest in the workspace, which `@dbt_assets` needs.

    This is the only place that makes the manifest. Processes that load the graph at the same time wait for each other. Nothing
    is written beside the project, which may lie in a folder of another user.

    Raises:
        LiveAlignError: the manifest cannot be made.
    """
    project = DbtProject(PROJECT_FOLDER, target_path=home.dbt)
    try:
        home.dbt.mkdir(parents=True, exist_ok=True)
        with exclusive(home.dbt / ".lock"):
            _forget_runs(home.dbt)
            if _is_stale(project.manifest_path):
                dbt_resource(project).cli(["parse", "--quiet"], target_path=home.dbt).wait()
    except DagsterDbtCliRuntimeError as error:
        raise dbt_failure(error) from error
    except OSError as error:
        raise LiveAlignError(f"{home.dbt} cannot be written ({error.strerror}); name a folder by LIVEALIGN_HOME") from error
    return project


def _is_stale(manifest: Path) -> bool:
    if not manifest.exists():
        return True
    sources = [path for pattern in ("*.yml", "**/*.sql", "models/**/*.yml") for path in PROJECT_FOLDER.glob(pattern)]
    return manifest.stat().st_mtime < max(path.stat().st_mtime for path in sources)


def _forget_runs(folder: Path) -> None:
    """Remove the files of dbt's runs but for the newest, whose logs a failure names."""
    runs = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in runs[:-KEPT_RUNS]:
        shutil.rmtree(path, ignore_errors=True)


def dbt_environment(home: Home) -> None:
    """Set the variables by which dbt finds this workspace, and where it writes."""
    os.environ.update(
        LIVEALIGN_LANDING=str(home.landing),
        LIVEALIGN_WAREHOUSE_FILE=str(home.warehouse_file),
        DBT_TARGET_PATH=str(home.dbt),
        DBT_LOG_PATH=str(home.dbt),
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

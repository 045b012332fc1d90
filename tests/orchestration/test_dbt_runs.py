"""dbt in the graph: it is called once for an error that stays, and writes into the workspace alone."""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from dagster import DagsterInstance, Definitions, define_asset_job
from dagster_dbt import DbtCliResource, DbtProject

from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.profiles import load_profile
from orchestration.assets.warehouse import warehouse_assets
from orchestration.dbt import project as dbt_project
from orchestration.dbt.project import KEPT_RUNS, PROJECT_FOLDER, prepared_project
from orchestration.resources import Workspace
from orchestration.retrain import run_job

STARTED = time.time()
# A dbt that knows its version, notes each build and fails with what a file says.
FAKE_DBT = """#!{python}
import sys
from pathlib import Path
here = Path(__file__).parent
if "--version" in sys.argv:
    print("Core:\\n  - installed: 1.11.0\\n")
    sys.exit(0)
with (here / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
print((here / "says").read_text())
sys.exit(2)
"""


@pytest.fixture(scope="module")
def home(dbt_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("dbt") / "home", "simulator")
    made.activate()
    shutil.copytree(dbt_folder, made.dbt)
    return made


@pytest.fixture(scope="module")
def project(home: Home) -> DbtProject:
    return prepared_project(home)


def test_the_manifest_lies_in_the_workspace_and_nothing_beside_the_project(home: Home, project: DbtProject) -> None:
    assert project.manifest_path == home.dbt / "manifest.json"
    assert project.manifest_path.is_file()
    # What an earlier version wrote there may lie there still.
    beside = [PROJECT_FOLDER / "target" / "manifest.json", PROJECT_FOLDER / "logs" / "dbt.log"]
    assert not [path for path in beside if path.exists() and path.stat().st_mtime >= STARTED]


def test_a_manifest_is_made_again_only_where_the_project_is_newer(
    home: Home, project: DbtProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[object] = []

    class Parser:
        def cli(self, command: list[str], target_path: Path) -> "Parser":
            parsed.append((command[0], target_path))
            return self

        def wait(self) -> None: ...

    monkeypatch.setattr(dbt_project, "dbt_resource", lambda _: Parser())
    prepared_project(home)
    assert parsed == []
    os.utime(project.manifest_path, (0, 0))
    prepared_project(home)
    os.utime(project.manifest_path)
    assert parsed == [("parse", home.dbt)]


def test_only_the_newest_runs_of_dbt_are_kept(home: Home, project: DbtProject) -> None:
    for number in range(KEPT_RUNS + 3):
        folder = home.dbt / f"dbt_models-{number}"
        folder.mkdir()
        os.utime(folder, (number, number))
    prepared_project(home)
    kept = {path.name for path in home.dbt.iterdir() if path.is_dir() and path.name.startswith("dbt_models-")}
    assert kept >= {f"dbt_models-{number}" for number in range(5, KEPT_RUNS + 3)}
    assert not kept & {"dbt_models-0", "dbt_models-1", "dbt_models-2"}
    assert project.manifest_path.is_file()


@pytest.mark.parametrize(
    "said", ["Runtime Error\n  The profile 'livealign' does not have a target named 'prod'.", "parquet file is damaged"]
)
def test_dbt_is_called_once_for_an_error_that_stays_and_the_failure_is_one_line(
    said: str, home: Home, project: DbtProject, tmp_path: Path
) -> None:
    fake = tmp_path / "dbt"
    fake.write_text(FAKE_DBT.format(python=sys.executable))
    fake.chmod(0o755)
    (tmp_path / "says").write_text(said)
    profile = load_profile("tiny")
    models = warehouse_assets(project)
    defs = Definitions(
        assets=[models],
        jobs=[define_asset_job("only_dbt", [models])],
        resources={
            "workspace": Workspace(home, home.archive, profile, profile.dataset),
            "dbt": DbtCliResource(project_dir=project, dbt_executable=str(fake)),
        },
    )
    with DagsterInstance.ephemeral() as instance, pytest.raises(LiveAlignError) as raised:
        run_job(defs, instance, "only_dbt", partition_key="2025-06-03")
    assert str(raised.value).startswith("only_dbt failed in dbt_models: dbt failed:")
    assert "\n" not in str(raised.value)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


def test_a_workspace_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbt_project, "exclusive", lambda _: pytest.fail("there is no folder to lock"))
    with pytest.raises(LiveAlignError, match="cannot be written"):
        prepared_project(Home(Path("/proc/livealign"), "simulator"))

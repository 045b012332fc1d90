"""The decorator of daily assets: code version, retries of transient errors, table of changes."""

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    Failure,
    MaterializeResult,
    MetadataValue,
    RetryPolicy,
    materialize,
)

from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.profiles import load_profile
from orchestration.resources import Workspace
from orchestration.runs import code_version as versions
from orchestration.runs import daily_asset as daily
from orchestration.runs.changes import CHANGES, SINCE, with_changes
from orchestration.runs.dagster_private import DagsterExecutionInterruptedError
from orchestration.runs.stage import stage

DAY = "2025-06-09"


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


def materialized(instance: DagsterInstance, partition: str, **metadata: object) -> None:
    instance.report_runless_asset_event(AssetMaterialization(AssetKey("ranker"), partition=partition, metadata=metadata))


def changes(instance: DagsterInstance, **metadata: object) -> dict[str, tuple[str, str, str]]:
    metadata_with_changes = with_changes(instance, AssetKey("ranker"), DAY, metadata)
    records = [record.data for record in metadata_with_changes[CHANGES].records]
    return {str(row["what"]): (str(row["before"]), str(row["now"]), str(row["change"])) for row in records}


def test_what_changed_is_held_against_the_newest_earlier_day(instance: DagsterInstance) -> None:
    materialized(instance, "2025-06-07", rows=1)
    materialized(instance, "2025-06-08", rows=1_000, gauc=0.65, codebook="abc", gone=3, plot=MetadataValue.md("x" * 5_000))
    materialized(instance, "2025-06-10", rows=9)
    found = changes(instance, rows=1_250, gauc=0.65, codebook="xyz", fresh=True, plot=MetadataValue.md("y" * 5_000))
    assert found == {
        "rows": ("1,000", "1,250", "+250 (+25.0%)"),
        "gauc": ("0.65", "0.65", "="),
        "codebook": ("abc", "xyz", "changed"),
        "fresh": ("–", "True", "new"),
        "gone": ("3", "–", "gone"),
    }
    assert with_changes(instance, AssetKey("ranker"), DAY, {})[SINCE] == "2025-06-08"


def test_numbers_inside_a_document_are_compared_by_their_path(instance: DagsterInstance) -> None:
    materialized(instance, "2025-06-08", level={"used": 32, "names": ["a"]}, zero=0)
    assert changes(instance, level={"used": 24, "names": ["b"]}, zero=2) == {
        "level.used": ("32", "24", "−8 (-25.0%)"),
        "zero": ("0", "2", "+2"),
    }


def test_the_first_day_has_nothing_to_be_held_against(instance: DagsterInstance) -> None:
    assert changes(instance, rows=1) == {}
    assert with_changes(instance, AssetKey("ranker"), DAY, {})[SINCE] == "no earlier day"


def test_the_code_version_follows_every_module_that_is_imported_however_far_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "orchestration/assets": "from livealign.near import f\nimport os\n",
        "livealign/near": "def f():\n    from livealign import far\n",
        "livealign/far": "X = 1\n",
        "livealign/other": "Y = 1\n",
        "livealign/__init__": "",
    }.items():
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    versions._imports.cache_clear()
    before = versions.code_version("orchestration.assets")
    (tmp_path / "livealign" / "other.py").write_text("Y = 2\n")
    assert versions.code_version("orchestration.assets") == before
    (tmp_path / "livealign" / "far.py").write_text("X = 2\n")
    assert versions.code_version("orchestration.assets") != before
    versions._imports.cache_clear()


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionResetError("peer"), True),
        (subprocess.TimeoutExpired("bentos", 600), True),
        (OSError(errno.EIO, "input/output error"), True),
        (duckdb.IOException('Could not set lock on file "warehouse.duckdb"'), True),
        (LiveAlignError("warehouse.duckdb cannot be read (Could not set lock on file)"), True),
        (OSError(errno.ENOSPC, "no space left on device"), False),
        (LiveAlignError("the archive is damaged"), False),
        (ValueError("NaN loss"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, passes: bool) -> None:
    assert daily.is_transient(error) == passes
    wrapped = LiveAlignError("a stage failed")
    wrapped.__cause__ = error
    assert daily.is_transient(wrapped) == passes


def interrupted(error: BaseException) -> BaseException:
    """An error that a run meets while it is being ended."""
    error.__context__ = DagsterExecutionInterruptedError()
    return error


def test_what_a_run_meets_while_it_is_being_ended_is_not_tried_again() -> None:
    assert not daily.is_transient(interrupted(subprocess.TimeoutExpired("dbt", 2)))
    for error in (DagsterExecutionInterruptedError(), KeyboardInterrupt(), interrupted(ConnectionError("down"))):
        with pytest.raises(Failure) as failure, daily.retry_transient_errors(Path()):
            raise error
        assert not failure.value.allow_retries


@pytest.mark.parametrize(("error", "calls"), [(ConnectionError("down"), 3), (ValueError("wrong"), 1)])
def test_an_asset_is_retried_when_that_can_help_and_not_otherwise(
    error: Exception, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: DagsterInstance
) -> None:
    monkeypatch.setattr(daily, "RETRIES", RetryPolicy(max_retries=3))
    home = Home(tmp_path, "simulator")
    profile = load_profile("tiny")
    called: list[int] = []

    def flaky(context, workspace) -> MaterializeResult:
        """Fails twice."""
        called.append(1)
        with stage(context, workspace, "flaky"):
            if len(called) <= 2:
                raise error
        return MaterializeResult(metadata={"rows": 7})

    flaky.__module__ = "orchestration.runs.stage"  # the code version is that of one of our modules
    asset = daily.daily_asset("release", kinds={"python"}, retried=True)(flaky)
    workspace = Workspace(home, tmp_path, profile, profile.dataset)
    result = materialize(
        [asset], partition_key=DAY, instance=instance, resources={"workspace": workspace}, raise_on_error=False
    )
    assert len(called) == calls
    assert result.success == (calls > 1)
    if result.success:
        metadata = result.asset_materializations_for_node("flaky")[0].metadata
        assert {"rows", "seconds", "peak_memory_mib", SINCE, CHANGES} == set(metadata)


def test_numbers_of_metadata_are_rounded_at_every_depth_and_nothing_else_changes() -> None:
    assert daily.rounded({"gauc": 0.7276549631787324, "small": 0.000123456, "nothing": float("inf")}) == {
        "gauc": 0.7277,
        "small": 0.000123,
        "nothing": float("inf"),
    }
    assert daily.rounded({"n": 40224, "ok": True, "name": "a", "levels": [{"share": 1 / 3}]}) == {
        "n": 40224,
        "ok": True,
        "name": "a",
        "levels": [{"share": 0.3333}],
    }
    assert daily.rounded(MetadataValue.json({"click": {"auc": 2 / 3}})) == MetadataValue.json({"click": {"auc": 0.6667}})
    assert daily.rounded(MetadataValue.md("0.123456789")) == MetadataValue.md("0.123456789")

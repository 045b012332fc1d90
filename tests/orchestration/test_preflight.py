"""Runs of the daemon and of the UI are checked before their first stage, as `make retrain` checks its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetExecutionContext, DagsterInstance, Definitions, MaterializeResult, define_asset_job

from livealign.errors import LiveAlignError
from livealign.files import replace_json
from livealign.home import Home
from livealign.llm.backbone_names import TINY
from livealign.profiles import load_profile
from orchestration.resources import Workspace
from orchestration.retrain import run_job
from orchestration.runs.daily_asset import RETRIES, daily_asset
from orchestration.runs.instance import LAUNCHED_BY
from orchestration.runs.preflight import check_run
from orchestration.runs.stage import check_before_stages, stage

DAY = "2025-06-03"
ran: list[str] = []


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    ran.clear()
    with DagsterInstance.ephemeral() as made:
        yield made


def run(instance: DagsterInstance, home: Home, archive: Path, job: str, backbone: str = TINY, by: str = "daemon") -> None:
    """A run of two stages; `ran` names those whose work began."""

    @daily_asset("content", kinds=set(), retried=True)
    def one(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
        with stage(context, workspace, "one"):
            ran.append("one")
        return MaterializeResult()

    @daily_asset("content", kinds=set(), deps=[one])
    def two(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
        with stage(context, workspace, "two"):
            ran.append("two")
        return MaterializeResult()

    check_before_stages(check_run)  # as the definitions do
    settings = load_profile("tiny", backbone=backbone)
    defs = Definitions(
        assets=[one, two],
        jobs=[define_asset_job(job, [one, two])],
        resources={"workspace": Workspace(home, archive, settings, settings.dataset)},
    )
    run_job(defs, instance, job, partition_key=DAY, tags={LAUNCHED_BY: by})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home", "parquet")
    made.activate()
    return made


def test_a_run_of_the_daemon_that_would_fail_ends_before_its_first_stage_begins(
    instance: DagsterInstance, home: Home, tmp_path: Path
) -> None:
    with pytest.raises(LiveAlignError) as raised:
        run(instance, home, tmp_path / "nowhere", "daily_retrain", backbone=str(tmp_path / "no-model"))
    assert "2 things keep the retrain from starting" in str(raised.value)
    assert f"{tmp_path / 'nowhere'} is no folder" in str(raised.value)
    assert "no-model" in str(raised.value)
    assert ran == []
    assert RETRIES.max_retries > 0  # it is not tried again: nothing would have changed


def test_each_job_is_asked_for_what_it_reads(instance: DagsterInstance, home: Home, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    run(instance, home, tmp_path / "nowhere", "retune_llm")
    with pytest.raises(LiveAlignError, match="is no archive of platform parquet"):
        run(instance, home, tmp_path / "archive", "build_history", backbone="/no/model")
    run(instance, home, tmp_path / "nowhere", "one_asset_by_hand", backbone="/no/model")
    run(instance, home, tmp_path / "nowhere", "daily_retrain", backbone="/no/model", by="retrain")
    assert ran == ["one", "two"] * 3


def test_a_run_is_checked_once_and_may_run_beside_another(
    instance: DagsterInstance, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.runs import preflight

    asked: list[object] = []
    original = preflight.check_retrain
    monkeypatch.setattr(preflight, "check_retrain", lambda *given, **named: asked.append(named) or original(*given, **named))
    run(instance, home, tmp_path / "nowhere", "retune_llm")
    assert asked == [{"alone": False, "store": "home"}]
    assert ran == ["one", "two"]


def test_a_stage_that_took_more_memory_than_is_left_says_so_before_it_begins(
    instance: DagsterInstance, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_json(home.artifacts / "2025-06-01" / "stages" / "two.json", {"seconds": 1.0, "peak_rss_bytes": 10}, version=1)
    replace_json(home.artifacts / "2025-06-02" / "stages" / "one.json", {"seconds": 1.0, "peak_rss_bytes": 10}, version=1)
    replace_json(home.artifacts / "2025-06-02" / "stages" / "two.json", {"seconds": 1.0, "peak_rss_bytes": 2**50}, version=1)
    run(instance, home, tmp_path / "nowhere", "daily_retrain", by="retrain")
    said = capsys.readouterr().err
    warning = said.index("! stage two took 1048576.0 GiB of memory at its last run, and ")
    assert warning < said.index("✓ two")
    assert said.count("of memory at its last run") == 1
    assert ran == ["one", "two"]
    run(instance, home, tmp_path / "nowhere", "daily_retrain", by="retrain")
    assert "of memory at its last run" not in capsys.readouterr().err, "the last run took little"

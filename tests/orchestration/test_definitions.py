"""The asset graph as defined: dependencies, blocking checks, schedule."""

import re
import shutil
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from dagster import AssetCheckKey, AssetKey, AssetsDefinition, DagsterInstance, Definitions, build_sensor_context, materialize

import tests.planted.kuaishou_archives as make
from livealign.dataset.marts import MARTS
from livealign.home import Home
from livealign.landing.schema import TABLES
from livealign.profiles import load_profile
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from orchestration.assets import release
from orchestration.assets.landing import landing
from orchestration.definitions import build_definitions
from orchestration.resources import WAREHOUSE_POOL, Workspace
from orchestration.runs import code_version
from orchestration.runs.daily_asset import OWNERS
from orchestration.runs.failures import root_cause
from orchestration.runs.instance import fail_dead_runs, open_instance
from orchestration.sensors import new_archive_days

PARENTS = {
    "llm_adapter": {"warehouse/exported_marts"},
    "segment_embeddings": {"llm_adapter"},
    "aligned_vectors": {"segment_embeddings"},
    "semantic_codes": {"aligned_vectors"},
    "retriever": {"aligned_vectors"},
    "ranker": {"semantic_codes"},
    "comparison": {"segment_embeddings"},
    "offline_report": {"ranker", "comparison", "retriever"},
    "drift_report": {"semantic_codes", "warehouse/exported_marts"},
    "bundle": {"offline_report", "drift_report"},
    "bento": {"bundle"},
    "promotion": {"bento"},
    "retention": {"promotion"},
}
GROUPS = {"landing", "warehouse", "content", "alignment", "recommenders", "evaluation", "release"}


@pytest.fixture(scope="module")
def workspace(dbt_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    home = Home(tmp_path_factory.mktemp("home"), "simulator")
    home.activate()
    shutil.copytree(dbt_folder, home.dbt)
    profile = load_profile("tiny")
    return Workspace(home, home.archive, profile, profile.dataset)


@pytest.fixture(scope="module")
def defs(workspace: Workspace) -> Definitions:
    return build_definitions(workspace)


def nodes(defs: Definitions):
    return {key: defs.resolve_asset_graph().get(key) for key in defs.resolve_asset_graph().get_all_asset_keys()}


def test_every_landing_table_is_an_asset_and_every_group_is_there(defs: Definitions) -> None:
    graph = nodes(defs)
    assert {key.path[1] for key in graph if key.path[0] == "landing"} == {*TABLES, "ledger", "rejects"}
    assert {node.group_name for node in graph.values()} == GROUPS


def test_every_asset_is_partitioned_by_day_and_says_what_it_is_whose_it_is_and_of_which_code(defs: Definitions) -> None:
    for key, node in nodes(defs).items():
        assert node.partitions_def is not None, key
        assert node.partitions_def.has_partition_key("2025-06-02"), key
        assert len(node.description or "") > 20, f"{key} has no description"
        assert node.owners, f"{key} has no owner"
        assert set(node.owners) <= set(OWNERS.values()), key
        assert node.kinds, f"{key} has no kind"
        assert node.code_version, f"{key} has no code version"


def test_what_reads_files_or_starts_processes_is_retried_and_what_trains_is_not(defs: Definitions) -> None:
    for key, node in nodes(defs).items():
        op = node.assets_def.op
        retried = op.retry_policy is not None
        assert retried == (key.path[0] in ("landing", "warehouse") or key.path == ["bento"]), key


def test_the_promotion_waits_for_every_model_and_for_the_bento(defs: Definitions) -> None:
    graph = defs.resolve_asset_graph()
    upstream = graph.get_ancestor_asset_keys(AssetKey("promotion"))
    models = {"llm_adapter", "segment_embeddings", "aligned_vectors", "semantic_codes", "ranker", "comparison"}
    assert {AssetKey(key) for key in (*models, "bundle", "bento")} <= upstream


def test_each_asset_hangs_on_what_it_reads(defs: Definitions) -> None:
    found = {key.to_user_string(): {one.to_user_string() for one in node.parent_keys} for key, node in nodes(defs).items()}
    assert {name: found[name] for name in PARENTS} == PARENTS
    assert found["warehouse/exported_marts"] == {f"warehouse/{mart}" for mart in MARTS}


def test_the_promotion_is_handed_every_blocking_check_of_the_graph(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[AssetCheckKey] = []
    promotion = release.promotion

    def seen(guards: Sequence[AssetCheckKey]) -> AssetsDefinition:
        handed.extend(guards)
        return promotion(guards)

    monkeypatch.setattr(release, "promotion", seen)
    graph = build_definitions(workspace).resolve_asset_graph()
    assert len(handed) == len(set(handed)) > 20
    assert set(handed) == {key for key in graph.asset_check_keys if graph.get(key).blocking}


def test_editing_a_platform_adapter_changes_the_code_version_of_no_asset_after_the_warehouse(
    defs: Definitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a copy of the code, whose versions are those that the graph has."""

    # The dbt models have versions of their own, from their SQL.
    ours = {key: node for key, node in nodes(defs).items() if key.path[0] != "warehouse" or key.path[1] == "exported_marts"}

    def versions() -> dict[AssetKey, str]:
        return {key: code_version.code_version(f"orchestration.assets.{node.group_name}") for key, node in ours.items()}

    for package in code_version.OWN_PACKAGES:
        shutil.copytree(code_version.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_version, "ROOT", tmp_path)
    before = versions()
    assert before == {key: node.code_version for key, node in ours.items()}
    for path in (tmp_path / "livealign" / "platforms").rglob("*.py"):
        path.write_text(path.read_text() + "# edited\n")
    changed = {key for key, version in versions().items() if version != before[key]}
    assert changed == {key for key in ours if key.path[0] == "landing"}, "landing, and nothing that comes after it"
    path = tmp_path / "livealign" / "ranking" / "ranker.py"
    path.write_text(path.read_text() + "# edited\n")
    groups = {ours[key].group_name for key, version in versions().items() if version != before[key]}
    assert {"recommenders", "release"} <= groups, "those that train or read a ranker"
    assert not groups & {"warehouse", "content"}, "those that come before it"


def test_all_that_opens_the_warehouse_for_writing_is_in_its_pool(defs: Definitions) -> None:
    pools = {key: node.pools for key, node in nodes(defs).items() if key.path[0] == "warehouse"}
    assert pools
    assert all(found == {WAREHOUSE_POOL} for found in pools.values())


def test_dbt_tests_and_codebook_health_block_and_drift_does_not(defs: Definitions) -> None:
    graph = defs.resolve_asset_graph()
    blocking = {key.name: graph.get(key).blocking for key in graph.asset_check_keys}
    assert blocking["codebook_is_healthy"]
    assert blocking["ranker_is_calibrated"]
    assert blocking["volumes_are_usual"]
    assert blocking["nothing_is_read_early"]
    assert not blocking["day_has_not_drifted"]
    dbt_checks = [name for name in blocking if "strictly_before" in name or "ledger" in name]
    assert dbt_checks
    assert all(blocking[name] for name in dbt_checks)


def test_the_schedule_retrains_at_three_for_the_day_before(defs: Definitions) -> None:
    schedule = defs.resolve_schedule_def("nightly")
    assert schedule.cron_schedule == "0 3 * * *"
    assert schedule.job.name == "daily_retrain"


def test_a_new_day_in_the_archive_asks_for_its_retrain_once(workspace: Workspace) -> None:
    config = SimulationConfig.tiny()
    simulate(config, workspace.archive)
    with DagsterInstance.ephemeral() as instance:

        def tick(cursor: str | None):
            return new_archive_days(build_sensor_context(instance, cursor), workspace=workspace)

        first = tick(None)
        assert not first.run_requests, "days that were there before the sensor are history"
        longer = SimulationConfig.tiny()
        grown = workspace.archive / f"dt={config.first_day + timedelta(days=longer.days)}"
        (workspace.archive / f"dt={config.first_day}").rename(grown)
        news = tick(first.cursor)
        assert [request.partition_key for request in news.run_requests] == [grown.name.removeprefix("dt=")]
        assert not getattr(tick(news.cursor), "run_requests", None)


def test_a_dead_run_is_marked_failed_and_gives_its_slot_back(workspace: Workspace, defs: Definitions) -> None:
    from dagster import DagsterRunStatus

    with open_instance(workspace.home) as instance:
        run = instance.create_run_for_job(
            defs.resolve_job_def("build_history"),
            tags={"livealign/launched_by": "retrain"},
            status=DagsterRunStatus.STARTED,
        )
        assert fail_dead_runs(instance, {"build_history"}) == 1
        assert instance.get_run_by_id(run.run_id).status == DagsterRunStatus.FAILURE
        assert fail_dead_runs(instance, {"build_history"}) == 0


def test_history_ends_the_day_before_and_starts_where_something_is_missing(workspace: Workspace) -> None:
    assert workspace.training_days(date(2025, 6, 9))[-1] == date(2025, 6, 8)
    assert len(workspace.training_days(date(2025, 6, 9))) == workspace.dataset.train_days


def test_a_home_moves_between_platforms_without_mixing_them(tmp_path: Path) -> None:
    for platform in ("simulator", "twitch", "simulator"):
        home = Home(tmp_path, platform)
        home.activate()
        assert (tmp_path / "landing").resolve() == home.landing.resolve()
    assert (tmp_path / "platforms" / "twitch" / "landing").is_dir()


def test_a_retrain_ends_at_the_landing_that_lost_its_table_and_says_why(tmp_path: Path) -> None:
    make.write_kuailive(tmp_path / "a")
    seconds = re.compile(r"(?m)^((?:\d+,){3})(\d{10})\d{3}")
    make.rewrite(tmp_path / "a" / "like.csv", lambda text: seconds.sub(r"\1\2", text))
    home, profile = Home(tmp_path / "home", "kuailive"), load_profile("tiny")
    home.activate()
    workspace = Workspace(home, tmp_path / "a", profile, profile.dataset)
    done = materialize([landing], partition_key=f"{make.DAY_ONE}", resources={"workspace": workspace}, raise_on_error=False)
    assert not done.success
    (failed,) = [event for event in done.all_events if event.is_step_failure]
    said = root_cause(failed.step_failure_data.error)
    assert said.startswith("likes: 100.0% of ")
    assert "at looks like seconds since 1970, not milliseconds: multiply it by 1,000" in said
    assert make.landed(home.landing, "plays")  # what landed stays, with the rejects beside it

"""The whole system as one asset graph. Read this module first.

    [landing] → [warehouse] → [content] → [alignment] → [recommenders] → [evaluation] → [release]

Assets are thin: they load, call `livealign`, save, and report. All are partitioned by UTC day.
"""

from dagster import Definitions, in_process_executor

from orchestration.assets import alignment, content, evaluation, landing, recommenders, release, warehouse
from orchestration.check_results import blocking_keys
from orchestration.checks import release_guards
from orchestration.dbt.project import dbt_environment, dbt_resource, prepared_project
from orchestration.jobs import build_history, daily_retrain, retune_llm
from orchestration.resources import Workspace
from orchestration.runs.failure_webhook import failed_run_note
from orchestration.runs.preflight import check_run
from orchestration.runs.run_processes import look_again_after_errors
from orchestration.runs.stage import check_before_stages
from orchestration.schedules import nightly
from orchestration.sensors import content_drift, new_archive_days, stale_llm


def build_definitions(workspace: Workspace) -> Definitions:
    """The graph over one workspace."""
    check_before_stages(check_run)
    look_again_after_errors()
    dbt_environment(workspace.home)
    project = prepared_project(workspace.home)
    assets = [
        landing.landing,
        warehouse.warehouse_assets(project),
        warehouse.exported_marts,
        content.llm_adapter,
        content.segment_embeddings,
        alignment.aligned_vectors,
        alignment.semantic_codes,
        recommenders.retriever,
        recommenders.ranker,
        recommenders.comparison,
        evaluation.offline_report,
        evaluation.online_report,
        evaluation.drift_report,
        release.bundle,
        release.bento,
    ]
    guards = blocking_keys([*assets, *release_guards])
    return Definitions(
        assets=[*assets, release.promotion(guards), release.retention],
        asset_checks=release_guards,
        jobs=[build_history, daily_retrain, retune_llm],
        schedules=[nightly],
        sensors=[new_archive_days, content_drift, stale_llm, failed_run_note],
        resources={"workspace": workspace, "dbt": dbt_resource(project)},
        # One process per run, for backfills too: the stages use all cores themselves, and torch is imported once.
        executor=in_process_executor,
    )


defs = build_definitions(Workspace.from_environment())

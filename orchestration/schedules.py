"""When the graph runs by itself, and the jobs that run."""

from dagster import AssetSelection, build_schedule_from_partitioned_job, define_asset_job, in_process_executor

# One process for a run: the stages use all cores themselves, and torch is imported once.
build_history = define_asset_job(
    "build_history",
    AssetSelection.groups("landing", "warehouse"),
    description="Landing and warehouse alone, for any range of days: what a first retrain needs of the days before it.",
    executor_def=in_process_executor,
)

daily_retrain = define_asset_job(
    "daily_retrain",
    AssetSelection.all(),
    description="Everything, for one day: from the archive to a promoted release and its Bento.",
    executor_def=in_process_executor,
)

retune_llm = define_asset_job(
    "retune_llm",
    AssetSelection.assets("llm_adapter").downstream(),
    description="The LLM and all that hangs on it, for one day: asked for when content has drifted.",
    executor_def=in_process_executor,
)

nightly = build_schedule_from_partitioned_job(
    daily_retrain,
    name="nightly",
    description="03:00 UTC, for the day that has just ended.",
    hour_of_day=3,
)

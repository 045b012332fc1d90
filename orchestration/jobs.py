"""The jobs of the graph: history alone, a whole daily retrain, and a full LLM tune."""

from dagster import AssetSelection, define_asset_job

build_history = define_asset_job(
    "build_history",
    AssetSelection.groups("landing", "warehouse"),
    description="Lands and builds the warehouse for a range of days: the history that a first retrain needs.",
)

daily_retrain = define_asset_job(
    "daily_retrain",
    AssetSelection.all(),
    description="Retrains for one day: from the archive to a promoted release and its Bento.",
)

retune_llm = define_asset_job(
    "retune_llm",
    AssetSelection.assets("llm_adapter").downstream(),
    description="Tunes the LLM for one day and rebuilds everything downstream; requested when content drifts or the LLM ages.",
)

"""The latest result of each blocking check for a day, from any run.

Within one run a failed blocking check stops everything downstream of it. A promotion started alone, from the UI, is
downstream of no check in its own run, so the promotion looks up the checks' latest results itself.
"""

from collections.abc import Iterable

from dagster import AssetCheckEvaluation, AssetCheckKey, AssetCheckSeverity, AssetsDefinition, DagsterInstance

from orchestration.runs.dagster_private import AssetCheckExecutionRecord, AssetCheckExecutionRecordStatus, PartitionKeyFilter

RUNS_BACK = 200  # executions of a check that are searched for the result of a day's last run


def blocking_keys(definitions: Iterable[AssetsDefinition]) -> list[AssetCheckKey]:
    """The blocking checks of these assets and `@asset_check`s, in the order of their keys.

    `AssetCheckSpec.blocking` is True for dbt's tests of severity error: dagster-dbt sets it.
    """
    return sorted({spec.key for definition in definitions for spec in definition.check_specs if spec.blocking}, key=str)


def guard_results(instance: DagsterInstance, keys: Iterable[AssetCheckKey], day: str) -> dict[str, bool]:
    """Name of each check → whether it passed when it was last planned for the day.

    A check that was never planned for this partition is left out. One that was planned and did not finish has not passed.
    """
    storage = instance.event_log_storage
    latest = storage.get_latest_asset_check_execution_by_key(list(keys), PartitionKeyFilter(key=day))
    results = {}
    for key, record in sorted(latest.items(), key=str):
        if record.status == AssetCheckExecutionRecordStatus.PLANNED:
            # dbt's tests are planned for a partition, but their results have no partition: match them by the run.
            unpartitioned = storage.get_asset_check_execution_history(
                key, RUNS_BACK, partition_filter=PartitionKeyFilter(key=None)
            )
            record = next((result for result in unpartitioned if result.run_id == record.run_id), record)
        results[f"{key.asset_key.path[-1]}: {key.name}"] = _passed(record)
    return results


def _passed(record: AssetCheckExecutionRecord) -> bool:
    if record.status == AssetCheckExecutionRecordStatus.SUCCEEDED:
        return True
    event = record.event.dagster_event if record.event else None
    result = event.event_specific_data if event else None
    return isinstance(result, AssetCheckEvaluation) and result.severity == AssetCheckSeverity.WARN

"""Which blocking checks have last failed for a day, whichever run they ran in.

Within one run a failed blocking check stops everything downstream of it. A promotion that somebody starts alone, from the UI,
must not pass it by: so the promotion asks for the checks' last results itself.
"""

from collections.abc import Iterable

from dagster import AssetCheckEvaluation, AssetCheckKey, AssetCheckSeverity, AssetsDefinition, DagsterInstance

from orchestration.runs.dagster_private import AssetCheckExecutionRecord, AssetCheckExecutionRecordStatus, PartitionKeyFilter

RUNS_BACK = 200  # of one check, in which the results of a day's last run are looked for


def blocking_keys(definitions: Iterable[AssetsDefinition]) -> list[AssetCheckKey]:
    """The blocking checks among these assets and `@asset_check`s, in the order of their keys.

    A spec itself says whether it blocks; dagster-dbt marks dbt's tests of severity error so.
    """
    return sorted({spec.key for one in definitions for spec in one.check_specs if spec.blocking}, key=str)


def guard_results(instance: DagsterInstance, keys: Iterable[AssetCheckKey], day: str) -> dict[str, bool]:
    """Name of each check that was to run for the day → whether it let the day pass, the last time it was to run.

    A check that was never to run for this partition is left out; one that was planned and came to no end has not passed.
    """
    storage = instance.event_log_storage
    found = storage.get_latest_asset_check_execution_by_key(list(keys), PartitionKeyFilter(key=day))
    results = {}
    for key, record in sorted(found.items(), key=str):
        if record.status == AssetCheckExecutionRecordStatus.PLANNED:
            # dbt's tests are planned for a partition, and their results name none: the run tells which belong together.
            unpartitioned = storage.get_asset_check_execution_history(
                key, RUNS_BACK, partition_filter=PartitionKeyFilter(key=None)
            )
            record = next((one for one in unpartitioned if one.run_id == record.run_id), record)
        results[f"{key.asset_key.path[-1]}: {key.name}"] = _passed(record)
    return results


def _passed(record: AssetCheckExecutionRecord) -> bool:
    if record.status == AssetCheckExecutionRecordStatus.SUCCEEDED:
        return True
    event = record.event.dagster_event if record.event else None
    result = event.event_specific_data if event else None
    return isinstance(result, AssetCheckEvaluation) and result.severity == AssetCheckSeverity.WARN

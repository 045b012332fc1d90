"""Which blocking checks have last failed for a day, whichever run they ran in.

Within one run a failed blocking check stops everything downstream of it. A promotion that somebody starts alone, from the UI,
must not pass it by: so the promotion asks for the checks' last results itself.
"""

from collections.abc import Iterable

from dagster import AssetCheckEvaluation, AssetCheckKey, AssetCheckSeverity, DagsterInstance
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord, AssetCheckExecutionRecordStatus


def guards_of(graph: BaseAssetGraph) -> list[AssetCheckKey]:
    """The blocking checks of the graph: dbt's tests of severity error, and those that orchestration.checks marks so."""
    return [key for key in graph.asset_check_keys if graph.get(key).blocking]


def guard_results(instance: DagsterInstance, keys: Iterable[AssetCheckKey], day: str) -> dict[str, bool]:
    """Name of each check that ran for the day → whether it let the day pass, by its last run.

    A check that never ran for this partition is left out; one that was planned and did not come to an end has not passed.
    """
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys), PartitionKeyFilter(key=day))
    return {f"{key.asset_key.path[-1]}: {key.name}": _passed(record) for key, record in sorted(found.items(), key=str)}


def _passed(record: AssetCheckExecutionRecord) -> bool:
    if record.status == AssetCheckExecutionRecordStatus.SUCCEEDED:
        return True
    event = record.event.dagster_event if record.event else None
    result = event.event_specific_data if event else None
    return isinstance(result, AssetCheckEvaluation) and result.severity == AssetCheckSeverity.WARN

"""The private names of Dagster that we use, so that an upgrade breaks one module.

`dagster` 1.13 exports none of them at its top level.
"""

from dagster._core.definitions.metadata import normalize_metadata
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord, AssetCheckExecutionRecordStatus
from dagster._core.storage.tags import RUN_KEY_TAG
from dagster._utils.error import SerializableErrorInfo

__all__ = [
    "RUN_KEY_TAG",
    "AssetCheckExecutionRecord",
    "AssetCheckExecutionRecordStatus",
    "DagsterExecutionInterruptedError",
    "PartitionKeyFilter",
    "SerializableErrorInfo",
    "normalize_metadata",
]

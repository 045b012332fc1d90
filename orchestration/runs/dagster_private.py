"""The private names of Dagster that we use, so that an upgrade breaks one module.

`dagster` 1.13 exports none of them at its top level.
"""

from dagster._core.definitions.metadata import normalize_metadata
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord, AssetCheckExecutionRecordStatus
from dagster._core.storage.tags import MAX_RETRIES_TAG, RUN_KEY_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.error import SerializableErrorInfo

__all__ = [
    "MAX_RETRIES_TAG",
    "RUN_KEY_TAG",
    "AssetCheckExecutionRecord",
    "AssetCheckExecutionRecordStatus",
    "DagsterExecutionInterruptedError",
    "LoadableTargetOrigin",
    "ManagedGrpcPythonEnvCodeLocationOrigin",
    "PartitionKeyFilter",
    "RemoteJobOrigin",
    "RemoteRepositoryOrigin",
    "SerializableErrorInfo",
    "normalize_metadata",
]

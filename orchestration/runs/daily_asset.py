"""The decorator of all daily assets: owner, code version, retries, cost and changes.

    @daily_asset("content", kinds={"torch"}, deps=[…])
    def segment_embeddings(context, workspace) -> MaterializeResult: …

To the metadata that the function returns it adds the seconds and memory of the stage, and a table of what changed since the
day before.
"""

import errno
import math
import subprocess
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    BackfillPolicy,
    Backoff,
    Failure,
    FreshnessPolicy,
    Jitter,
    JsonMetadataValue,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    RetryPolicy,
    asset,
)

from livealign.errors import LiveAlignError
from livealign.full_disk import full_disk_line
from orchestration.partitions import days
from orchestration.resources import Workspace
from orchestration.runs.changes import with_changes
from orchestration.runs.code_version import code_version
from orchestration.runs.failures import INTERRUPTIONS, TOLD_TO_END
from orchestration.runs.stage import cost_of

OWNERS = {  # group → the team, as Dagster's UI lists it, that is responsible when an asset fails
    "landing": "team:data",
    "warehouse": "team:data",
    "content": "team:models",
    "alignment": "team:models",
    "recommenders": "team:models",
    "evaluation": "team:quality",
    "release": "team:quality",
}
RETRIES = RetryPolicy(max_retries=3, delay=5, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)  # 5, 10, 20 seconds
TRANSIENT = (ConnectionError, TimeoutError, BlockingIOError, InterruptedError, subprocess.TimeoutExpired)
TRANSIENT_ERRNO = frozenset({errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ESTALE, errno.ETXTBSY, errno.ENETUNREACH})
LOCKED = ("could not set lock", "conflicting lock", "database is locked")  # DuckDB's and SQLite's texts for another writer

Compute = Callable[[AssetExecutionContext, Workspace], MaterializeResult]


def daily_asset(
    group: str,
    *,
    kinds: set[str],
    deps: Iterable[AssetsDefinition | AssetKey] = (),
    key: list[str] | None = None,
    stage: str | None = None,
    retried: bool = False,
    pool: str | None = None,
    backfill_policy: BackfillPolicy | None = None,
    freshness_policy: FreshnessPolicy | None = None,
) -> Callable[[Compute], AssetsDefinition]:
    """Decorator: an asset partitioned by day, described by the function's docstring.

    Args:
        stage: the name under which the function measures its cost; default: the asset's.
        retried: the asset uses files, locks or processes whose errors can be transient (`is_transient`).
    """

    def make(compute: Compute) -> AssetsDefinition:
        name = compute.__name__

        def run_stage(context: AssetExecutionContext, workspace: ResourceParam[Workspace]) -> MaterializeResult:
            with retry_transient_errors(workspace.home.workspace, retried):
                result = compute(context, workspace)
            return MaterializeResult(metadata=reported(context, workspace, stage or name, result.metadata or {}))

        return asset(
            run_stage,
            name=None if key else name,
            key=key,
            description=" ".join((compute.__doc__ or "").split()),
            deps=list(deps),
            group_name=group,
            kinds=kinds,
            owners=[OWNERS[group]],
            code_version=code_version(compute.__module__),
            partitions_def=days,
            backfill_policy=backfill_policy,
            retry_policy=RETRIES if retried else None,
            freshness_policy=freshness_policy,
            pool=pool,
        )

    return make


def reported(
    context: AssetExecutionContext,
    workspace: Workspace,
    stage: str,
    metadata: Mapping[str, Any],
    key: AssetKey | None = None,
) -> dict[str, Any]:
    """The metadata with the stage's cost and a table of the changes since the day before.

    "The day before" is relative to the first day of the run's range.
    """
    cost = cost_of(context, workspace, stage)
    costs = {"seconds": round(cost["seconds"], 1), "peak_memory_mib": round(cost["peak_rss_bytes"] / 2**20)}
    return with_changes(context.instance, key or context.asset_key, context.partition_keys[0], rounded({**metadata, **costs}))


def rounded(value: Any) -> Any:
    """Metadata with rounded numbers, at every depth.

    Four places; three digits where a number is smaller than a thousandth.
    """
    if isinstance(value, float) and math.isfinite(value):
        return round(value, 4) if abs(value) >= 0.001 else float(f"{value:.3g}")
    if isinstance(value, Mapping):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return MetadataValue.json(rounded(value.value)) if isinstance(value, JsonMetadataValue) else value


@contextmanager
def retry_transient_errors(folder: Path, retried: bool = True) -> Iterator[None]:
    """Leave transient errors to the asset's retry policy; fail the step at once on any other.

    Args:
        folder: where the stage writes; a full disk is named by it where the error names no file.
        retried: the asset has a retry policy.
    """
    try:
        yield
    except Failure:
        raise
    except INTERRUPTIONS as error:
        forget_locals(error)
        if not retried:
            raise
        raise Failure(TOLD_TO_END, allow_retries=False) from LiveAlignError(TOLD_TO_END)  # Dagster would start it again
    except Exception as error:
        forget_locals(error)
        if is_transient(error):
            raise
        if full := full_disk_line(error, folder):
            raise Failure(full, allow_retries=False) from LiveAlignError(full)
        raise Failure(str(error) or type(error).__name__, allow_retries=False) from error


def forget_locals(error: BaseException | None) -> None:
    """Clear the local variables of the frames of an error and its causes.

    Their stacks stay readable.

    Dagster keeps a failed step's error until the process ends, and with those frames a corpus, or a connection that DuckDB then
    reports as leaked.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def is_transient(error: BaseException | None) -> bool:
    """Whether the same call may succeed later: a locked file, a machine that does not answer.

    Errors from the data, the settings or a full disk are not transient: they stay until a person changes something. Nor is
    what a run that was asked to end meets while it ends.
    """
    if _of_an_interruption(error):
        return False
    while error is not None:
        if isinstance(error, TRANSIENT) or (isinstance(error, OSError) and error.errno in TRANSIENT_ERRNO):
            return True
        if any(text in str(error).lower() for text in LOCKED):
            return True
        error = error.__cause__
    return False


def _of_an_interruption(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, INTERRUPTIONS):
            return True
        error = error.__cause__ or error.__context__
    return False

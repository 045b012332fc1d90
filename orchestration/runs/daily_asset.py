"""What all assets of the graph have in common: days, an owner, a code version, retries where they help, and a report.

    @daily_asset("content", kinds={"torch"}, deps=[…])
    def segment_embeddings(context, workspace) -> MaterializeResult: …

adds to what the function reports how long it took, the memory it needed, and what changed since the day before.
"""

import errno
import subprocess
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
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
    MaterializeResult,
    ResourceParam,
    RetryPolicy,
    asset,
)

from orchestration.partitions import days
from orchestration.resources import Workspace
from orchestration.runs.changes import with_changes
from orchestration.runs.code_version import code_version
from orchestration.runs.stage import cost_of

OWNERS = {  # group → who is asked when one of its assets fails; teams, as Dagster's UI lists them
    "landing": "team:data",
    "warehouse": "team:data",
    "content": "team:models",
    "alignment": "team:models",
    "recommenders": "team:models",
    "evaluation": "team:quality",
    "release": "team:quality",
}
RETRIES = RetryPolicy(max_retries=3, delay=5, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)  # 5, 10, 20 seconds
PASSING = (ConnectionError, TimeoutError, BlockingIOError, InterruptedError, subprocess.TimeoutExpired)
PASSING_ERRNO = frozenset({errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ESTALE, errno.ETXTBSY, errno.ENETUNREACH})
LOCKED = ("could not set lock", "conflicting lock", "database is locked")  # what DuckDB and SQLite say of another writer

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
    """An asset of one day: the function's docstring is its description.

    Args:
        stage: the name under which the function measures its cost; default: the asset's.
        retried: what the asset does depends on files, locks or processes that may be back in a moment (`is_passing`).
    """

    def make(compute: Compute) -> AssetsDefinition:
        name = compute.__name__

        def told(context: AssetExecutionContext, workspace: ResourceParam[Workspace]) -> MaterializeResult:
            with only_passing_failures_are_retried():
                result = compute(context, workspace)
            return MaterializeResult(metadata=reported(context, workspace, stage or name, result.metadata or {}))

        return asset(
            told,
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
    """The metadata, with the stage's cost and the table of changes since the day before the run's first."""
    cost = cost_of(context, workspace, stage)
    costs = {"seconds": round(cost["seconds"], 1), "peak_memory_mib": round(cost["peak_rss_bytes"] / 2**20)}
    return with_changes(context.instance, key or context.asset_key, context.partition_keys[0], {**metadata, **costs})


@contextmanager
def only_passing_failures_are_retried() -> Iterator[None]:
    """Let a failure that may pass through to the asset's retry policy; any other ends the step at once."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        forget_locals(error)
        if is_passing(error):
            raise
        raise Failure(str(error) or type(error).__name__, allow_retries=False) from error


def forget_locals(error: BaseException | None) -> None:
    """Clear the local variables of the frames that an error and its causes have left; their stacks stay readable.

    Dagster keeps a failed step's error until the process ends, and with those frames a corpus, or a connection that DuckDB then
    reports as leaked.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def is_passing(error: BaseException | None) -> bool:
    """Whether the same call may succeed in a moment: another process has the file, a machine or a disk does not answer.

    What the data, the settings or a full disk cause stays as it is until a person changes it.
    """
    while error is not None:
        if isinstance(error, PASSING) or (isinstance(error, OSError) and error.errno in PASSING_ERRNO):
            return True
        if any(text in str(error).lower() for text in LOCKED):
            return True
        error = error.__cause__
    return False

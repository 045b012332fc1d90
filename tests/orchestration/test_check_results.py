"""The latest check results that the promotion reads, from any run."""

from collections.abc import Iterator

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    MaterializeResult,
    asset,
    asset_check,
    materialize,
)

from orchestration.check_results import blocking_keys, guard_results

days = DailyPartitionsDefinition("2025-01-01")
results: dict[str, AssetCheckResult] = {}  # what the checks below say


@asset(partitions_def=days)
def codes() -> None: ...


@asset_check(asset=codes, blocking=True, partitions_def=days)
def healthy() -> AssetCheckResult:
    return results["healthy"]


@asset_check(asset=codes, partitions_def=days)
def quiet() -> AssetCheckResult:
    return AssetCheckResult(passed=False)


@asset(partitions_def=days, check_specs=[AssetCheckSpec("fits", asset="table", blocking=True)])
def table() -> Iterator[MaterializeResult | AssetCheckEvaluation]:
    """Like the dbt assets: the test is planned for a partition, its result names none."""
    yield MaterializeResult()
    if results.get("fits"):
        yield AssetCheckEvaluation(table.key, "fits", results["fits"].passed)


KEYS = blocking_keys([codes, healthy, quiet])


@pytest.fixture(scope="module")
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def run(instance: DagsterInstance, day: str, passed: bool, severity: AssetCheckSeverity = AssetCheckSeverity.ERROR) -> None:
    results["healthy"] = AssetCheckResult(passed=passed, severity=severity)
    materialize([codes, healthy, quiet], instance=instance, partition_key=day, raise_on_error=False)


def test_the_last_result_of_each_blocking_check_counts_for_its_day_alone(instance: DagsterInstance) -> None:
    assert [key.name for key in KEYS] == ["healthy"]
    assert guard_results(instance, KEYS, "2025-01-09") == {}
    run(instance, "2025-01-09", passed=False)
    run(instance, "2025-01-10", passed=True)
    assert guard_results(instance, KEYS, "2025-01-09") == {"codes: healthy": False}
    assert guard_results(instance, KEYS, "2025-01-10") == {"codes: healthy": True}
    run(instance, "2025-01-09", passed=True)
    assert guard_results(instance, KEYS, "2025-01-09") == {"codes: healthy": True}


def test_a_result_without_a_partition_belongs_to_the_run_that_planned_it(instance: DagsterInstance) -> None:
    keys = blocking_keys([table])
    for day, passed in (("2025-01-09", True), ("2025-01-10", False)):
        results["fits"] = AssetCheckResult(passed=passed)
        materialize([table], instance=instance, partition_key=day, raise_on_error=False)
    assert guard_results(instance, keys, "2025-01-09") == {"table: fits": True}
    assert guard_results(instance, keys, "2025-01-10") == {"table: fits": False}
    del results["fits"]  # the run ends before the test does
    materialize([table], instance=instance, partition_key="2025-01-09", raise_on_error=False)
    assert guard_results(instance, keys, "2025-01-09") == {"table: fits": False}


def test_a_warning_is_no_failure(instance: DagsterInstance) -> None:
    run(instance, "2025-01-11", passed=False, severity=AssetCheckSeverity.WARN)
    assert guard_results(instance, KEYS, "2025-01-11") == {"codes: healthy": True}

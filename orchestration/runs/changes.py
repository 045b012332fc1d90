"""The metadata table of what changed in an asset since the day before."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    JsonMetadataValue,
    MetadataValue,
    TableColumn,
    TableRecord,
    TableSchema,
)

from orchestration.runs.dagster_private import normalize_metadata

LONGEST_TEXT = 60  # characters; longer texts are reports, tables and pictures, not values to compare
SCHEMA = TableSchema([TableColumn("what"), TableColumn("before"), TableColumn("now"), TableColumn("change")])
SINCE = "changed_since"  # metadata: the day of the comparison
CHANGES = "what_changed"


class Earlier(NamedTuple):
    """An asset's last materialization of an earlier day."""

    partition: str
    metadata: Mapping[str, MetadataValue]


def with_changes(instance: DagsterInstance, key: AssetKey, partition: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata with a table of its differences from the newest earlier day's.

    The table is empty on an asset's first day.
    """
    earlier = earlier_day(instance, key, partition)
    rows = list(_rows(earlier.metadata, normalize_metadata(dict(metadata)))) if earlier else []
    return {
        **metadata,
        SINCE: earlier.partition if earlier else "no earlier day",
        CHANGES: MetadataValue.table(rows, SCHEMA),
    }


def earlier_day(instance: DagsterInstance, key: AssetKey, partition: str) -> Earlier | None:
    """The newest materialization before the partition's day, None on the first day."""
    before = [day for day in instance.get_materialized_partitions(key) if day < partition]
    if not before:
        return None
    records = instance.fetch_materializations(AssetRecordsFilter(key, asset_partitions=[max(before)]), limit=1).records
    materialization = records[0].asset_materialization if records else None
    return Earlier(max(before), materialization.metadata) if materialization else None


def _rows(before: Mapping[str, MetadataValue], now: Mapping[str, MetadataValue]) -> Iterator[TableRecord]:
    old, new = dict(_values(before)), dict(_values(now))
    for name in [*new, *(name for name in old if name not in new)]:
        left, right = old.get(name), new.get(name)
        yield TableRecord({"what": name, "before": _text(left), "now": _text(right), "change": _change(left, right)})


def _values(metadata: Mapping[str, MetadataValue]) -> Iterator[tuple[str, Any]]:
    """Numbers and short texts by name; those of a JSON document by `name.field`."""
    for name, value in metadata.items():
        if name in (SINCE, CHANGES, "path"):
            continue
        fields = value.value.items() if isinstance(value, JsonMetadataValue) and isinstance(value.value, dict) else ()
        yield from ((f"{name}.{field}", part) for field, part in fields if _is_comparable(part))
        if not isinstance(value, JsonMetadataValue) and _is_comparable(value.value):
            yield name.removeprefix("dagster/"), value.value


def _is_comparable(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _change(before: Any, now: Any) -> str:
    if before is None or now is None:
        return "new" if before is None else "gone"
    if _is_number(before) and _is_number(now):
        share = f" ({(now - before) / abs(before):+.1%})" if before else ""
        return "=" if now == before else f"{'+' if now > before else '−'}{_text(abs(now - before))}{share}"
    return "=" if now == before else "changed"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

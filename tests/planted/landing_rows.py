"""Hand-made landing folders: rows as plain dicts, written in the layout of the contract."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from livealign.days import partition
from livealign.landing.books import LEDGER, REJECTS
from livealign.landing.schema import TABLES

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def at(text: str) -> datetime:
    """A time of June 2025 from '01 12:00:30' or, with milliseconds, '01 12:00:30.500'."""
    return datetime.fromisoformat(f"2025-06-{text}")


def write_landing(root: Path, days: Sequence[date], rows: Rows, rejects: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write every table of these days; rows of other days are left out.

    Columns that a row does not name are null.

    Args:
        rows: rows by table.
        rejects: rows of the rejects table, each with its `dt`.
    """
    for day in days:
        refused = [reject for reject in rejects if reject["dt"] == day]
        ledger = []
        for name, table in TABLES.items():
            of_day = [row for row in rows.get(name, ()) if row[table.time_column].date() == day]
            _write(partition(root, name, day), of_day, table.schema)
            refused_here = [reject for reject in refused if reject["table"] == name]
            _write(partition(root / "rejects", name, day), refused_here, REJECTS)
            counted = sum(reject["reason"] != "unknown_field" for reject in refused_here)
            ledger.append(
                {
                    "table": name,
                    "file": f"{name}.csv",
                    "read": len(of_day) + counted,
                    "landed": len(of_day),
                    "rejected": counted,
                }
            )
        _write(partition(root, "ledger", day), ledger, LEDGER)


def _write(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path)

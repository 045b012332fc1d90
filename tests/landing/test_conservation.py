"""Whatever is read is landed or rejected: random batches of dirty rows, counted."""

import json
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livealign.days import DAY_MS, midnight, partition
from livealign.landing.books import WARNINGS
from livealign.landing.run import LandingRun

DAY, NEXT = date(2025, 5, 5), date(2025, 5, 6)
NOW = datetime(2025, 6, 1)

DAY, NEXT = date(2025, 5, 5), date(2025, 5, 6)
NOW = datetime(2025, 6, 1)
NOON = midnight(DAY) + 12 * 3_600_000


def read(root: Path, name: str, day: date = DAY) -> pa.Table:
    return pq.ParquetFile(partition(root, name, day)).read()


def values(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    bad = st.sampled_from([None, "", "x", float("nan"), float("inf"), -1, 2**63, 10**15, True, b"\xff", NOON * 1_000])
    return st.one_of(good, good, good, bad)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "play_id": values(st.integers(0, 5)),
            "user_id": values(st.integers(0, 3)),
            "entered_at": values(st.integers(midnight(DAY), midnight(DAY) + 3 * DAY_MS)),
            "left_at": values(st.integers(midnight(DAY), midnight(DAY) + 3 * DAY_MS)),
            "source": values(st.text(max_size=3)),
        }
    ),
    max_size=12,
)


def column(items: list[Any]) -> pa.Array:
    """The narrowest Arrow column that holds the values: what a reader of a dirty file would hand over."""
    try:
        return pa.array(items)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        encoded = [item if isinstance(item, bytes | None) else str(item).encode("utf-8", "surrogatepass") for item in items]
        return pa.array(encoded, pa.binary())


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(ROWS, min_size=1, max_size=3))
def test_whatever_comes_read_is_landed_plus_rejected(tmp_path_factory: pytest.TempPathFactory, batches: list[Any]) -> None:
    root = tmp_path_factory.mktemp("landing")
    days = [DAY, NEXT]
    with LandingRun(root, days, NOW) as run:
        for number, rows in enumerate(batches):
            names = list(rows[0]) if rows else []
            table = pa.table({name: column([row[name] for row in rows]) for name in names})
            ones = pa.array(np.ones(len(rows), np.int64))
            run.add("plays", table.append_column("author_id", ones).append_column("room_id", ones), f"file{number}")
    summary = run.summary.tables["plays"]
    rejects = [row for day in days for row in read(root, "rejects/plays", day).to_pylist() if row["reason"] not in WARNINGS]
    ledger = [row for day in days for row in read(root, "ledger", day).to_pylist()]
    assert summary.read == summary.landed + summary.rejected
    assert summary.landed == sum(read(root, "plays", day).num_rows for day in days)
    assert summary.rejected == len(rejects) == summary.reasons.total()
    assert Counter(row["reason"] for row in rejects) == summary.reasons
    assert all(row["read"] == row["landed"] + row["rejected"] for row in ledger)
    assert sum(row["read"] for row in ledger) == summary.read
    assert all(json.loads(row["row"]) for row in rejects)
    for day in days:
        keys = read(root, "plays", day).column("play_id").to_pylist()
        assert len(keys) == len(set(keys))

"""Batches of a file: rows keep their lines, and the progress that is reported is the file's size in the end."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from livealign.platforms import typed_batches
from livealign.platforms.typed_values import Kind

ROWS = 5_000


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_progress_grows_with_each_batch_up_to_the_size_of_the_file(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typed_batches, "PARQUET_ROWS", ROWS // 3)
    path, table = tmp_path / f"rows.{suffix}", pa.table({"number": pa.array(range(ROWS), pa.int64())})
    if suffix == "csv":
        pacsv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    steps: list[int] = []
    batches = list(typed_batches.read_batches(path, {"number": Kind.INTEGER}, steps.append))
    assert np.array_equal(np.concatenate([batch.lines for batch in batches]), np.arange(1, ROWS + 1))
    assert sum(steps) == path.stat().st_size
    assert min(steps) >= 0
    assert suffix == "csv" or max(steps) < sum(steps) / 2, "not all at once"

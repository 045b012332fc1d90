"""Read the truth that a simulated archive keeps beside its tables.

read_truth(archive, impression_ids, day)    columns of these impressions; None on every real platform
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from livealign.days import partition
from livealign.errors import EvaluationError
from livealign.files import read_json
from livealign.simulation.config import MANIFEST

# Row of the report → column of the truth. Two are in the archive, the others are computed (livealign.evaluation.ceilings).
ANY_PLACE = "_any_place"
ORACLES = {"oracle": "p_click", "oracle_text": "p_click_text", "oracle_static": "p_click_static"}
WRITTEN = (ORACLES["oracle"], ORACLES["oracle_static"])
ORACLES |= {row + ANY_PLACE: column + ANY_PLACE for row, column in ORACLES.items()}
SIMULATE_AGAIN = "make the archive again with `livealign simulate`"


def has_truth(archive: Path) -> bool:
    """Whether the archive is a simulated platform's."""
    return (archive / "truth").is_dir()


def read_truth(
    archive: Path, impression_ids: ArrayLike, day: date, columns: Sequence[str] = WRITTEN
) -> dict[str, NDArray] | None:
    """Columns of the truth of impressions, in the order of `impression_ids`.

    By default they are the true click probabilities.

    Returns:
        An array [n] by column, or None where the archive holds no truth (every real platform).

    Raises:
        EvaluationError: there is a truth folder, but its file of this day is missing, unreadable or lacks impressions.
    """
    if not has_truth(archive):
        return None
    file = truth_file(archive, "impressions", day)
    table = read_truth_file(file, ["impression_id", *columns])
    known = table["impression_id"].to_numpy()
    wanted = np.asarray(impression_ids, np.int64)
    order = np.argsort(known)
    place = np.searchsorted(known, wanted, sorter=order)
    rows = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(wanted), np.int64)
    missing = len(wanted) if not len(order) else int((known[rows] != wanted).sum())
    if len(wanted) and missing:
        raise EvaluationError(f"{file}: {missing} of {len(wanted)} impressions have no truth; {SIMULATE_AGAIN}")
    return {column: table[column].to_numpy()[rows] for column in columns}


def truth_file(archive: Path, table: str, day: date) -> Path:
    """The file of a simulated archive with a table of the day's truth."""
    return partition(archive / "truth", table, day)


def read_truth_file(file: Path, columns: Sequence[str]) -> pa.Table:
    """These columns of a file of the truth.

    Raises:
        EvaluationError: it is missing or damaged, or was simulated by a version that did not write all of them.
    """
    try:
        known = pq.read_schema(file).names
        if absent := [name for name in columns if name not in known]:
            raise EvaluationError(
                f"{file} was simulated by another version: it has no column {', '.join(absent)}; {SIMULATE_AGAIN}"
            )
        return pq.read_table(file, columns=list(columns), partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise EvaluationError(f"{file}: the truth cannot be read ({error}); {SIMULATE_AGAIN}") from error


def log_odds_of(archive: Path, *names: str) -> list[float]:
    """The effect of each of these settings of the archive on the log odds of a click.

    Raises:
        EvaluationError: the archive lacks a setting.
        LiveAlignError: the archive's settings are missing or damaged.
    """
    made_with = read_json(archive / MANIFEST, SIMULATE_AGAIN).get("config", {})
    if absent := [name for name in names if name not in made_with]:
        raise EvaluationError(f"{archive / MANIFEST} does not say what {' and '.join(absent)} did to clicks; {SIMULATE_AGAIN}")
    return [float(made_with[name]) for name in names]

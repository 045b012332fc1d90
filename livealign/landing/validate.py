"""The check of a finished landing folder against the contract.

    validate_landing(folder) -> list[ContractBreach]

Every breach says what is wrong, in which file, and in which row first.

What is checked, in this order: every landed day has a file of every table with the contract's columns; what a single row
must be (values there, ids and times in range, ends after starts, the day of its partition); keys without duplicates, over
all days; rows that name a room, an impression or a person that exist and agree with it; events within the life of
their room; units that cannot be meant (seconds in place of milliseconds, dates in place of times); pictures; the ledger;
whether a row landed at all, and of each table enough.

DuckDB reads the files as a stream and spills to disk, so memory stays bounded whatever the size.
"""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from livealign.days import DAY_MS, PART
from livealign.errors import LandingError
from livealign.formats import check_folder
from livealign.landing.books import WARNINGS
from livealign.landing.partitions import MOVE_AWAY
from livealign.landing.pictures import TABLE as PICTURES
from livealign.landing.run import Progress
from livealign.landing.schema import ADDED_LATER, COLUMNS_ADDED_LATER, TABLES, Table
from livealign.landing.summary import LEFT_OUT
from livealign.landing.times import unit_of
from livealign.landing.validate_rows import (
    ContractBreach,
    check_impressions_of_plays,
    check_inferred_lists,
    check_keys,
    check_references,
    check_rows,
    check_units,
    open_landing,
)
from livealign.operation_config import LandingConfig

LEAST_REJECTS = 10  # fewer say nothing about a share
BEYOND_MS = 100_000_000 * DAY_MS  # days of 1970 ± 270,000 years, the calendar of DuckDB


def validate_landing(
    landing_root: Path,
    progress: Progress | None = None,
    now: datetime | None = None,
    config: LandingConfig | None = None,
) -> list[ContractBreach]:
    """Check a landing folder against the contract; an empty list means no breach.

    Args:
        landing_root: the folder that holds `<table>/dt=YYYY-MM-DD/part-0.parquet`.
        now: naive UTC, later times are wrong; the current time if not given.
        config: the settings in force; the usual ones if not given.

    Raises:
        LandingError: there is no landed day, or a newer version of LiveAlign landed them.
    """
    root, now = Path(landing_root), now or datetime.now(UTC).replace(tzinfo=None)
    check_folder(root, MOVE_AWAY, LandingError)
    days = sorted({path.name for name in (*TABLES, "ledger") for path in root.glob(f"{name}/dt=*") if path.is_dir()})
    if not days:
        raise LandingError(f"{root} holds no landed day; land an archive first, or give the folder that has rooms/dt=…/ in it")
    breaches, files = _check_files(root, days, now)
    steps = len(TABLES) + 3
    with open_landing(root, files) as database:
        for done, table in enumerate(TABLES.values()):
            if progress:
                progress(done, steps)
            if files[table.name]:
                breaches += check_rows(database, root, table, now)
                breaches += check_keys(database, root, table)
                breaches += check_references(database, root, table, days[0].removeprefix("dt="))
        breaches += check_impressions_of_plays(database, root)
        breaches += check_inferred_lists(database, root)
        breaches += check_units(database)
    if progress:
        progress(steps - 1, steps)
    breaches += _check_pictures(root, files[PICTURES])
    breaches += _check_ledger(root, days, files)
    breaches += _check_rows_there(root, days, files, config or LandingConfig())
    if progress:
        progress(steps, steps)
    return breaches


def _check_files(root: Path, days: list[str], now: datetime) -> tuple[list[ContractBreach], dict[str, list[Path]]]:
    """Every day has every table, readable and with the contract's columns; the rest is checked on the files that are so."""
    breaches: list[ContractBreach] = []
    usable: dict[str, list[Path]] = {name: [] for name in TABLES}
    for table in TABLES.values():
        for day in days:
            path = root / table.name / day / PART
            file = path.relative_to(root).as_posix()
            others = sorted(other.name for other in path.parent.glob("*") if other != path)
            if others:
                breaches.append(
                    ContractBreach("error", table.name, "unknown_file", file, 0, len(others), f"beside it: {others[0]}")
                )
            if table.name in ADDED_LATER and not path.is_file():
                continue
            trouble = _trouble_with(path, table) or _beyond_calendar(path, table, now)
            if trouble:
                breaches.append(ContractBreach("error", table.name, trouble[0], file, 0, 1, trouble[1]))
            else:
                usable[table.name].append(path)
    return breaches, usable


def _trouble_with(path: Path, table: Table) -> tuple[str, str] | None:
    if not path.is_file():
        return "missing_file", "every landed day needs a file of every table, an empty one where there is nothing"
    try:
        schema = pq.read_schema(path)
        names = schema.names
    except (pa.ArrowException, OSError, ValueError) as error:
        return "unreadable_file", str(error)[:200]
    for column in table.schema:
        if column.name not in names:
            if column.name in COLUMNS_ADDED_LATER.get(table.name, ()):
                continue
            return "missing_column", f"there is no column {column.name}"
        if schema.field(column.name).type != column.type:
            return "wrong_type", f"{column.name} is {schema.field(column.name).type}, not {column.type}"
    unknown = [name for name in names if name not in table.schema.names]
    return ("unknown_column", f"the contract has no column {unknown[0]}") if unknown else None


def _beyond_calendar(path: Path, table: Table, now: datetime) -> tuple[str, str] | None:
    """Times that DuckDB cannot even read, for they lie 290,000 years off: nanoseconds taken for milliseconds."""
    rows = pq.read_table(path, columns=list(table.time_columns), partitioning=None)
    for name in table.time_columns:
        times = pc.drop_null(rows.column(name).cast(pa.int64())).to_numpy()
        if len(times) and (far := np.abs(times) > BEYOND_MS).any():
            units = [unit.name for unit, hit in unit_of(times[far], now) if hit.any()]
            like = f"looks like {units[0]}" if units else "is no time"
            return "wrong_time_unit", f"{name} {like}: {times[far][0]} is no time in milliseconds; {far.sum()} rows"
    return None


def _check_pictures(root: Path, parts: list[Path]) -> list[ContractBreach]:
    """Every row of `frames` names a picture of the landing."""
    breaches: list[ContractBreach] = []
    for part in parts:
        paths = pq.read_table(part, columns=["path"], partitioning=None).column("path").to_pylist()
        missing = [row for row, path in enumerate(paths, 1) if path is None or not (root / path).is_file()]
        if missing:
            file = part.relative_to(root).as_posix()
            detail = f"{len(missing)} rows name no picture of this landing; land the day again"
            breaches.append(ContractBreach("error", PICTURES, "missing_picture", file, missing[0], len(missing), detail))
    return breaches


def _check_ledger(root: Path, days: list[str], files: dict[str, list[Path]]) -> list[ContractBreach]:
    """read = landed + rejected, and both are what lies there."""
    breaches: list[ContractBreach] = []
    for day in days:
        path = root / "ledger" / day / PART
        file = path.relative_to(root).as_posix()
        try:
            rows = pq.read_table(path, partitioning=None).to_pylist()
        except (pa.ArrowException, OSError):
            breaches.append(
                ContractBreach("error", "ledger", "missing_file", file, 0, 1, "the day is incomplete: land it again")
            )
            continue
        for name in TABLES:
            landed = root / name / day / PART
            if landed not in files[name]:
                continue
            of_table = [row for row in rows if row["table"] == name]
            read, kept, refused = (sum(row[column] for row in of_table) for column in ("read", "landed", "rejected"))
            there, out = pq.read_metadata(landed).num_rows, _count_rejects(root / "rejects" / name / day / PART)
            if (read, kept, refused) != (there + out, there, out):
                detail = (
                    f"{name}: the ledger says {read} read = {kept} landed + {refused} rejected; {there} and {out} are there"
                )
                breaches.append(ContractBreach("error", "ledger", "not_conserved", file, 0, 1, detail))
    return breaches


def _check_rows_there(root: Path, days: list[str], files: dict[str, list[Path]], config: LandingConfig) -> list[ContractBreach]:
    """Something landed, of no table were all rows rejected (an error), and of none too many (a warning)."""
    breaches: list[ContractBreach] = []
    landed = {name: sum(pq.read_metadata(path).num_rows for path in paths) for name, paths in files.items()}
    if not any(landed.values()):
        everything = "no table has a row: nothing of the archive landed"
        breaches.append(ContractBreach("error", "rooms", "empty_landing", "rooms", 0, 0, everything))
    for name, rows in landed.items():
        reasons = sum((_reasons(root / "rejects" / name / day / PART) for day in days), Counter[str]())
        faults = Counter({reason: count for reason, count in reasons.items() if reason not in LEFT_OUT})
        rejected, share = faults.total(), faults.total() / max(1, rows + reasons.total())
        why = ", ".join(f"{reason} {count:,}" for reason, count in faults.most_common(3))
        detail = f"{share:.1%} of the rows of {name} were rejected: {why}; see rejects/{name}"
        if rejected and not rows:
            breaches.append(ContractBreach("error", name, "all_rejected", f"rejects/{name}", 0, rejected, detail))
        elif rejected >= LEAST_REJECTS and share > config.max_rejected_share:
            breaches.append(ContractBreach("warning", name, "mostly_rejected", f"rejects/{name}", 0, rejected, detail))
    return breaches


def _count_rejects(path: Path) -> int:
    """Rejects of one table and day, without the warnings; 0 where there is no such file."""
    return _reasons(path).total()


def _reasons(path: Path) -> Counter[str]:
    """Rejects of one table and day by reason, without the warnings; none where there is no such file."""
    reasons: Counter[str] = Counter()
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["reason"]):
                reasons.update({pair["values"]: pair["counts"] for pair in pc.value_counts(batch.column(0)).to_pylist()})
    except (pa.ArrowException, OSError):
        return Counter()
    return Counter({reason: count for reason, count in reasons.items() if reason not in WARNINGS})

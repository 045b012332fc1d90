"""One landing run: rows of an archive become the partition files of whole UTC days.

    landing/<table>/dt=YYYY-MM-DD/part-0.parquet            every table of `schema.TABLES`, empty where there is nothing
    landing/rejects/<table>/dt=YYYY-MM-DD/part-0.parquet    what did not fit: file, line, reason, the row
    landing/pictures/dt=YYYY-MM-DD/<name>.webp               the pictures of `frames` (`livealign.landing.pictures`)
    landing/ledger/dt=YYYY-MM-DD/part-0.parquet             per table and file: read = landed + rejected
    landing/format.json                                     the version of this layout (livealign.formats)

An adapter hands batches to a `LandingRun`, which checks every row (`livealign.landing.rules`), splits by day, drops
duplicate keys and replaces the partitions of its days when it ends well. Nothing is visible before that, a failed or
killed run changes nothing, and one that was killed while its finished files were being moved into place is finished by
the next. The same input gives the same bytes.

What is counted: a row is read once, under the day of its time column; a row of a day that the run does not land is not
read. A row whose day cannot be known (a bad time) is read and rejected under the day of its file where the adapter gives
it (`file_day`), else under the first day of the run. A file that cannot be read is one reject with line 0. Rows that are
one event (`add_linked`) land or are rejected together. A field that the contract does not have is a warning, not a reject:
one `unknown_field` record with line 0 for each file and field, which counts neither as read nor as rejected.
"""

import os
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from livealign.days import EPOCH
from livealign.errors import LandingError
from livealign.files import exclusive
from livealign.formats import check_folder, mark_folder
from livealign.landing.books import REJECTS, WARNINGS, Books
from livealign.landing.links import link
from livealign.landing.partitions import FILE, LINE, MOVE_AWAY, Spool, publish, recover, staged, write_partition, write_rows
from livealign.landing.pictures import TABLE as PICTURES
from livealign.landing.pictures import keep_pictures, publish_pictures
from livealign.landing.rejects import as_utf8, row_json, rows_json
from livealign.landing.rules import UNKNOWN_DAY, CheckedRows, check_rows
from livealign.landing.schema import TABLES
from livealign.landing.summary import LandingSummary
from livealign.operation_config import LandingConfig

BATCH_ROWS = 262_144  # rows checked at once
_WRITERS = min(2, os.cpu_count() or 1)  # partitions written at once; each holds some hundred megabytes

Progress = Callable[[int, int], None]  # (done, total)

Rows: TypeAlias = pa.Table | pa.RecordBatch
Ints: TypeAlias = npt.NDArray[np.int64]
LinkedRows: TypeAlias = tuple[Rows, Sequence[int] | Ints, Sequence[int] | Ints]  # rows, event of each, line of each


class LandingRun:
    """One run that lands whole days; use it as a context manager and read `summary` afterwards.

    Args:
        landing_root: the landing folder; it is made if there is none.
        days: the UTC days whose partitions this run replaces; rows of other days are ignored.
        now: naive UTC, later times are rejected; the current time if not given.
        config: the settings in force, which adapters read; the usual ones if not given.

    Raises:
        LandingError: no days, a table that the contract does not have, or a folder that a newer version of LiveAlign landed.
    """

    def __init__(
        self,
        landing_root: Path,
        days: Sequence[date],
        now: datetime | None = None,
        config: LandingConfig | None = None,
    ) -> None:
        if not days:
            raise LandingError("a landing run needs at least one day; choose --days that the archive has")
        self.days = sorted(set(days))
        self.now = now or datetime.now(UTC).replace(tzinfo=None)
        self.config = config or LandingConfig()
        self.summary = LandingSummary(self.days)
        self._root = Path(landing_root)
        self._wanted = {(day - EPOCH).days: day for day in self.days}
        self._folder = self._root / f".tmp-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._held = ExitStack()
        self._turn = threading.Lock()
        self._files: dict[str, int] = {}
        self._warned: set[tuple[str, str, str]] = set()
        self._used: set[str] = set()

    def __enter__(self) -> Self:
        check_folder(self._root, MOVE_AWAY, LandingError)
        self._root.mkdir(parents=True, exist_ok=True)
        recover(self._root)
        with exclusive(self._root / ".lock"):  # or another run could take the unlocked folder for an abandoned one
            (self._folder / "spool").mkdir(parents=True)
            self._held.enter_context(exclusive(self._folder / "lock"))
        self._spool = Spool(self._folder / "spool")
        self._books = Books(self._spool, self.summary)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._close()
        finally:
            self._held.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def used(self, file: str) -> None:
        """Note a file that the adapter opened, or leaves out on purpose, without a row of it.

        `file` is relative to the archive.
        """
        self._used.add(file)

    def was_used(self, file: str) -> bool:
        """Whether the adapter has named this file of the archive."""
        return file in self._used

    def add(
        self,
        table_name: str,
        data: Rows,
        file: str,
        first_line: int = 1,
        lines: Sequence[int] | Ints | None = None,
        file_day: date | None = None,
    ) -> None:
        """Check a batch and keep its good rows for the end of the run.

        Args:
            table_name: a table of `schema.TABLES`.
            data: n rows; columns may have any type that converts, in any order.
            file: where the rows are from, as a reader of the rejects should find it (relative to the archive).
            first_line: the line of the batch's first row in the file, the others follow.
            lines: [n], the line of each row, where they do not follow.
            file_day: the day under which rows without a usable time are rejected.
        """
        whole, at = self._opened(table_name, data, file, first_line, lines, file_day)
        for start in range(0, len(whole), BATCH_ROWS):
            batch = whole.slice(start, BATCH_ROWS)
            checked = self._checked(table_name, batch)
            self._take(table_name, batch, checked, file, at[start : start + BATCH_ROWS], file_day)

    def add_linked(self, tables: Mapping[str, LinkedRows], file: str, file_day: date | None = None) -> None:
        """Check batches whose rows belong together: an event lands whole or is rejected whole.

        A row that is rejected only because another one is has the reason `linked_row_rejected`; its detail names the table
        of the other row and what is wrong with it. Only the rows of one call are linked.

        Args:
            tables: for each table its rows, the event of each row [n] (any whole numbers), and the line of each row [n].
            file, file_day: see `add`.
        """
        opened = {name: self._opened(name, data, file, 1, lines, file_day) for name, (data, _, lines) in tables.items()}
        checked = {name: self._checked(name, whole) for name, (whole, _) in opened.items()}
        groups = {name: np.asarray(events, np.int64) for name, (_, events, _) in tables.items()}
        for name, verdict in link(checked, groups).items():
            whole, at = opened[name]
            self._take(name, whole, verdict, file, at, file_day)

    def _checked(self, table_name: str, rows: pa.Table) -> CheckedRows:
        """The verdict on the rows; the pictures of good ones are kept for the end of the run."""
        checked = check_rows(TABLES[table_name], rows, self.now)
        return keep_pictures(checked, self._wanted, self._folder, self._root) if table_name == PICTURES else checked

    def _opened(
        self,
        table_name: str,
        data: Rows,
        file: str,
        first_line: int,
        lines: Sequence[int] | Ints | None,
        file_day: date | None,
    ) -> tuple[pa.Table, Ints]:
        """The rows as a table and their lines; columns that the contract does not have are recorded."""
        if table_name not in TABLES:
            raise LandingError(f"{file}: there is no landing table '{table_name}'; the tables are {', '.join(TABLES)}")
        self.used(file)
        file = as_utf8(file)
        whole = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
        at = np.arange(first_line, first_line + len(whole)) if lines is None else np.asarray(lines, np.int64)
        if len(at) != len(whole):
            raise LandingError(
                f"{file}: {len(whole)} rows of {table_name} were given with {len(at)} lines; give one line a row"
            )
        unknown = [name for name in dict.fromkeys(whole.schema.names) if name not in TABLES[table_name].schema.names]
        for name in unknown:
            self.reject(table_name, file, 0, "unknown_field", name, day=file_day)
        return whole, at

    def reject(
        self,
        table_name: str,
        file: str,
        line: int,
        reason: str,
        detail: str = "",
        row: Mapping[str, Any] | None = None,
        day: date | None = None,
    ) -> None:
        """Record one row, or with line 0 one file, that an adapter could not read.

        It counts as read and rejected.

        A row of a `day` that the run does not land is left out; without a day it is booked on the run's first.
        """
        if table_name not in TABLES:
            raise LandingError(f"{file}: there is no landing table '{table_name}'; the tables are {', '.join(TABLES)}")
        self.used(file)
        file, detail = as_utf8(file), as_utf8(detail)
        day = self.days[0] if day is None else day
        if (day - EPOCH).days not in self._wanted:
            return
        if reason in WARNINGS:
            if (file, table_name, detail) in self._warned:
                return
            self._warned.add((file, table_name, detail))
            self.summary.tables[table_name].warnings[reason] += 1
        else:
            self._books.count(table_name, file, day, read=1, rejected=1)
            self._books.blame(table_name, reason, detail)
            if not line:
                self.summary.unreadable.append(f"{file} ({reason}: {detail})" if detail else f"{file} ({reason})")
        self._books.record(day, table_name, file, line, reason, detail, None if row is None else row_json(row))

    def _take(self, name: str, data: pa.Table, checked: CheckedRows, file: str, lines: Ints, file_day: date | None) -> None:
        """Keep the good rows of a batch for the end of the run, and record the others."""
        file = as_utf8(file)
        home = ((file_day or self.days[0]) - EPOCH).days
        days = np.where(checked.day == UNKNOWN_DAY, home, checked.day)
        index = self._files.setdefault(file, len(self._files))
        for number in np.unique(days):
            day = self._wanted.get(int(number))
            if day is None:
                continue
            here = days == number
            good = np.flatnonzero(here & (checked.reason_index < 0))
            bad = np.flatnonzero(here & (checked.reason_index >= 0))
            self._books.count(name, file, day, read=len(good) + len(bad), rejected=len(bad))
            if len(good):
                rows = checked.rows if len(good) == len(data) else checked.rows.take(good)
                rows = rows.append_column(FILE, pa.array(np.full(len(good), index, np.int32)))
                self._spool.append(name, day, rows.append_column(LINE, pa.array(lines[good])))
            if len(bad):
                self._reject_rows(name, file, day, data, checked, lines, bad)

    def _reject_rows(
        self,
        name: str,
        file: str,
        day: date,
        data: pa.Table,
        checked: CheckedRows,
        lines: Ints,
        bad: npt.NDArray[np.intp],
    ) -> None:
        for i, row in zip(bad, rows_json(data.take(bad)), strict=True):
            why = checked.reasons[checked.reason_index[i]]
            self._books.blame(name, why.reason, why.detail)
            self._books.record(day, name, file, int(lines[i]), why.reason, why.detail, row)

    def _close(self) -> None:
        """Write every partition of every day beside the landing folder's own, then publish them together."""
        ready = self._folder / "ready"
        ready.mkdir()
        with ThreadPoolExecutor(_WRITERS) as writers:
            closed = [writers.submit(self._close_table, name, day, ready) for day in self.days for name in TABLES]
            try:
                for table in closed:
                    table.result()
            except BaseException:
                writers.shutdown(cancel_futures=True)
                raise
        for day in self.days:
            self._books.write_ledger(day, ready)
        with exclusive(self._root / ".lock"):
            mark_folder(self._root)
            publish_pictures(self._folder, self._root)
            finished = self._root / self._folder.name.replace(".tmp-", ".commit-")
            ready.rename(finished)  # from here on the run is done, whatever happens to this process
            publish(finished, self._root)

    def _close_table(self, name: str, day: date, ready: Path) -> None:
        """Write one partition and its rejects; several threads do so at a time, and take turns at the spool and the counts."""
        with self._turn:
            partition = self._spool.take(name, day)
        files = list(self._files)
        detail = f"an earlier row has the same {', '.join(TABLES[name].primary_key)}"
        for duplicates in write_partition(TABLES[name], partition, files, staged(ready, name, day)):
            origins = zip(duplicates.column(FILE).to_pylist(), duplicates.column(LINE).to_pylist(), strict=True)
            rows = rows_json(duplicates.drop_columns([FILE, LINE]))
            with self._turn:
                self._books.blame(name, "duplicate_key", detail, len(duplicates))
                for (file, line), row in zip(origins, rows, strict=True):
                    self._books.count(name, files[file], day, read=0, rejected=1)
                    self._books.record(day, name, files[file], line, "duplicate_key", detail, row)
        with self._turn:
            rejects = self._books.take_rejects(name, day)
        write_rows(REJECTS, rejects, staged(ready, f"rejects/{name}", day))
        for chunk in partition.chunks:
            if isinstance(chunk, Path):
                chunk.unlink()

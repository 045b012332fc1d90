"""The books of one landing run: rows landed by file, and the rejects with their reasons.

Rejects wait in the run's spool until their partition is written.
"""

from collections import defaultdict
from datetime import date
from pathlib import Path

import pyarrow as pa

from livealign.landing.partitions import Partition, Spool, staged, write_rows
from livealign.landing.summary import LandingSummary

REJECTS = pa.schema(
    [
        pa.field("table", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),  # 1 is the first row of the file, 0 the file as a whole
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("row", pa.string()),  # JSON, long values cut
    ]
)
LEDGER = pa.schema(
    [
        pa.field("table", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("read", pa.int64(), nullable=False),
        pa.field("landed", pa.int64(), nullable=False),
        pa.field("rejected", pa.int64(), nullable=False),
    ]
)
WARNINGS = frozenset({"unknown_field"})  # recorded among the rejects, counted neither as read nor as rejected
_PENDING = 4_096  # rejects of one table and day that wait as Python rows


class Books:
    """Counts and rejects of a run; the totals go to its summary. One thread at a time.

    Args:
        spool: where rejects wait.
        summary: receives the reasons as they come and the totals at the end.
    """

    def __init__(self, spool: Spool, summary: LandingSummary) -> None:
        self.summary = summary
        self._spool = spool
        self._counts: dict[tuple[str, str, date], list[int]] = defaultdict(lambda: [0, 0])  # read, rejected
        self._pending: dict[tuple[str, date], list[tuple[str, str, int, str, str, str | None]]] = defaultdict(list)

    def count(self, name: str, file: str, day: date, read: int, rejected: int) -> None:
        """Add to the counts of a table, file and day."""
        counts = self._counts[name, file, day]
        counts[0] += read
        counts[1] += rejected

    def blame(self, name: str, reason: str, detail: str, rows: int = 1) -> None:
        """Add rejected rows to the summary's reasons; the first detail of a reason stands for all."""
        self.summary.tables[name].reasons[reason] += rows
        self.summary.tables[name].details.setdefault(reason, detail)

    def record(self, day: date, name: str, file: str, line: int, reason: str, detail: str, row: str | None) -> None:
        """Keep one reject (or warning); `row` is JSON."""
        pending = self._pending[name, day]
        pending.append((name, file, line, reason, detail, row))
        if len(pending) >= _PENDING:
            self._flush(name, day)

    def take_rejects(self, name: str, day: date) -> Partition:
        """The rejects of a table and day, in the order in which they came; they leave the spool."""
        self._flush(name, day)
        return self._spool.take(f"rejects/{name}", day)

    def write_ledger(self, day: date, ready: Path) -> None:
        """Write the day's ledger and add its counts to the summary."""
        rows = []
        for (name, file, of_day), (read, rejected) in sorted(self._counts.items()):
            if of_day == day:
                rows.append({"table": name, "file": file, "read": read, "landed": read - rejected, "rejected": rejected})
                total = self.summary.tables[name]
                total.read += read
                total.landed += read - rejected
                total.rejected += rejected
        self._spool.append("ledger", day, pa.Table.from_pylist(rows, schema=LEDGER))
        write_rows(LEDGER, self._spool.take("ledger", day), staged(ready, "ledger", day))

    def _flush(self, name: str, day: date) -> None:
        pending = self._pending.pop((name, day), [])
        columns = list(zip(*pending, strict=True)) or [()] * len(REJECTS)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, REJECTS, strict=True)]
        self._spool.append(f"rejects/{name}", day, pa.Table.from_arrays(arrays, schema=REJECTS))

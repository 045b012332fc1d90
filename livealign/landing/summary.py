"""The counts of rows that a run read, landed and rejected, and their check."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from livealign.landing.schema import TABLES
from livealign.operation_config import LandingConfig

# Rows that are no fault of the archive: a part of a broadcast, a share that failed, a vector of a room that is still live.
LEFT_OUT = frozenset({"same_broadcast", "share_failed", "room_still_live"})
NAMED = 20  # files named in a message, the rest are counted


@dataclass
class TableSummary:
    """Counts of one table; `reasons` adds up to `rejected`."""

    read: int = 0
    landed: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    details: dict[str, str] = field(default_factory=dict)  # of each reason, that of the first row

    @property
    def share_rejected(self) -> float:
        """Share of the rows read that a fault keeps out, 0 to 1."""
        faults = self.rejected - sum(self.reasons[reason] for reason in LEFT_OUT)
        return faults / self.read if self.read else 0.0


@dataclass
class LandingSummary:
    """The summary of one landing run, by table.

    `not_read` are the files of the archive that the adapter did not use.
    """

    days: list[date]
    tables: dict[str, TableSummary] = field(default_factory=lambda: {name: TableSummary() for name in TABLES})
    not_read: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # files rejected as a whole, with the reason

    @property
    def read(self) -> int:
        return sum(table.read for table in self.tables.values())

    @property
    def landed(self) -> int:
        return sum(table.landed for table in self.tables.values())

    @property
    def rejected(self) -> int:
        return sum(table.rejected for table in self.tables.values())

    @property
    def reasons(self) -> Counter[str]:
        return sum((table.reasons for table in self.tables.values()), Counter())


def failures(summary: LandingSummary, landing_root: Path, config: LandingConfig) -> list[str]:
    """One line for each table of which too much was rejected; empty for a good landing.

    A line has the share, the most frequent reasons and the remedy.
    """
    return [
        _failure(name, counts, landing_root)
        for name, counts in summary.tables.items()
        if counts.share_rejected > config.max_rejected_share or (counts.share_rejected and not counts.landed)
    ]


def warnings(summary: LandingSummary) -> list[str]:
    """Lines about files of the archive that could not be read, or that were not read at all."""
    unread = _listed("cannot be used", summary.unreadable)
    return [*unread, *_listed("not read, for it is no file of this format", summary.not_read)]


def _failure(name: str, counts: TableSummary, landing_root: Path) -> str:
    faults = Counter({reason: n for reason, n in counts.reasons.items() if reason not in LEFT_OUT})
    reasons = [
        f"{reason} {count:,}" + (f" ({counts.details[reason]})" if counts.details.get(reason) else "")
        for reason, count in faults.most_common(3)
    ]
    more = f" and {len(faults) - 3} further reasons" if len(faults) > 3 else ""
    return (
        f"{name}: {counts.share_rejected:.1%} of {counts.read:,} rows were rejected: {'; '.join(reasons)}{more}; "
        f"{landing_root / 'rejects' / name} has each row with file and line: mend the archive, then land it again"
    )


def _listed(what: str, files: Iterable[str]) -> list[str]:
    found = list(files)
    more = [f"… and {len(found) - NAMED:,} more files {what}"] if len(found) > NAMED else []
    return [*(f"{what}: {file}" for file in found[:NAMED]), *more]

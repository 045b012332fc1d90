"""UTC days: epoch milliseconds to days, ranges of days, and the path of a day partition.

<root>/<table>/dt=YYYY-MM-DD/part-0.parquet    the layout of landing, warehouse tables, marts and a simulator's truth
"""

from datetime import date, timedelta
from pathlib import Path

from livealign.errors import LiveAlignError

DAY_MS = 86_400_000
EPOCH = date(1970, 1, 1)
PART = "part-0.parquet"  # the one file of a partition


def day_of(milliseconds: int) -> date:
    """The UTC day of a time in epoch milliseconds."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def midnight(day: date) -> int:
    """The start of a UTC day in epoch milliseconds."""
    return (day - EPOCH).days * DAY_MS


def end_of(day: date) -> int:
    """The midnight that ends a UTC day in epoch milliseconds."""
    return midnight(day) + DAY_MS


def day_range(first: date, last: date) -> list[date]:
    """All days from `first` to `last`, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def day_written(text: str, where: str) -> date:
    """The day that a person wrote.

    Args:
        where: the option, for the error.

    Raises:
        LiveAlignError: the text is no day.
    """
    if not text.strip():
        raise LiveAlignError(f"{where} is empty; write a day as 2025-06-09, or leave it out")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise LiveAlignError(f"{where} {text[:80]}: {error}; write a day as 2025-06-09") from None


def day_named(path: Path) -> date | None:
    """The day that a folder is named after, `2025-06-09` or `dt=2025-06-09`, else None."""
    try:
        return date.fromisoformat(path.name.removeprefix("dt="))
    except ValueError:
        return None


def partition(root: Path, table: str, day: date) -> Path:
    """The file of a table's rows of one day."""
    return root / table / f"dt={day:%Y-%m-%d}" / PART

"""Times of an archive, in whatever form they are written → naive UTC milliseconds.

    numbers        Unix milliseconds, also as floating point or spelt as text
    timestamps     of any unit; one with a zone is an instant, one without is UTC
    text           ISO 8601, with `T` or a space; `Z`, `UTC`, `+08:00`, `+0800`, `+08` are read row by row, text without is UTC

Fractions of a millisecond are cut off. `unit_of` finds the unit of numbers that are not milliseconds of this century.
"""

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

YEAR_2000_MS = 946_684_800_000
_DIGITS = r"^[+-]?\d{6,19}(\.0*)?$"
_ZONE = r"\d:\d\d.*(Z|[+-]\d{2}(:?\d{2})?)$"  # behind a time of day, so that the day of a date is no offset

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Unit(NamedTuple):
    """A unit in which times since 1970 are written, and what makes milliseconds of it."""

    name: str
    per_second: int
    remedy: str


UNITS = (
    Unit("seconds", 1, "multiply it by 1,000"),
    Unit("microseconds", 1_000_000, "divide it by 1,000"),
    Unit("nanoseconds", 1_000_000_000, "divide it by 1,000,000"),
)


def unit_of(milliseconds: Ints, now: datetime) -> list[tuple[Unit, Mask]]:
    """For each wrong unit, the mask of values that are times from 2000 to `now` in it.

    The ranges of the units do not touch each other, nor that of milliseconds.
    """
    ranges = [(unit, *unit_range(unit, now)) for unit in UNITS]
    return [(unit, (first <= milliseconds) & (milliseconds <= last)) for unit, first, last in ranges]


def unit_range(unit: Unit, now: datetime) -> tuple[int, int]:
    """The first and the last number that is a time from 2000 to `now` in this unit."""
    milliseconds = round(now.replace(tzinfo=UTC).timestamp() * 1_000)
    return YEAR_2000_MS * unit.per_second // 1_000, milliseconds * unit.per_second // 1_000


def wrong_unit(name: str, unit: Unit) -> str:
    """The fault of a column in a wrong unit, and its remedy."""
    return f"{name} looks like {unit.name} since 1970, not milliseconds: {unit.remedy}"


def utc_text(column: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """[n] texts → whole numbers, times with a zone, times without; each null for other kinds."""
    text = pc.utf8_trim_whitespace(column)
    text = pc.replace_substring_regex(text, r"\[[^\[\]]*\]$", "")  # 2025-06-01T12:00+08:00[Asia/Shanghai], as Java writes
    text = pc.replace_substring_regex(text, r"\s*(?i:z|utc|gmt)$", "Z")
    text = pc.replace_substring_regex(text, r"(:\d\d(?:[.,]\d+)?)\s+([+-]\d\d)", r"\1\2")
    text = pc.replace_substring_regex(text, r"(:\d\d)[.,](\d{1,3})\d*", r"\1.\2")
    number = pc.match_substring_regex(text, _DIGITS)
    zoned = pc.and_(pc.match_substring_regex(text, _ZONE), pc.invert(number))
    plain = pc.invert(pc.or_(number, zoned))
    digits = pc.replace_substring_regex(text, r"^\+|\.0*$", "")
    return tuple(pc.if_else(which, value, None) for which, value in ((number, digits), (zoned, text), (plain, text)))

"""The clock of KuaiLive-M3's written times, found by comparison with Unix times.

The dataset documents no zone for its written times, while comments and segment vectors carry Unix milliseconds, which
are UTC by definition. A broadcast's comments must lie within its life, so of the two clocks that are plausible, UTC and
Asia/Shanghai (UTC+8, no summer time), the one under which they do is right. With the rooms placed, the other files are
compared with the rooms. The clock is never guessed: where neither fits, or both do, landing refuses the archive.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from livealign.days import DAY_MS, EPOCH
from livealign.errors import ArchiveError
from livealign.platforms.csv_blocks import UnreadableFileError
from livealign.platforms.kuaishou.files import Source
from livealign.platforms.kuaishou.rooms import OPEN_END, Rooms, whole_numbers

CLOCKS = {"utc": 0, "shanghai": 8 * 3_600_000}  # name → the clock minus UTC, milliseconds
CLOCK_VARIABLE = "LIVEALIGN_KUAILIVE_M3_CLOCK"
SLACK_MS = 10 * 60_000  # events are logged a little before and after their room's life
SAMPLE_ROWS = 200_000
LEAST_ROWS = 20  # of a file that is compared with the rooms; with fewer it has their clock
LEAST_SHARE = 0.6  # of sampled events within their room's life, under the right clock
LEAST_LEAD = 0.2  # of that share over the other clock's

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clock:
    """The clock of one file's written times, and how that is known."""

    name: str  # of CLOCKS
    because: str

    @property
    def offset_ms(self) -> int:
        """The clock minus UTC."""
        return CLOCKS[self.name]


def stated_clock() -> Clock | None:
    """The clock that LIVEALIGN_KUAILIVE_M3_CLOCK names; None if it is not set.

    Raises:
        ArchiveError: there is no such clock.
    """
    stated = os.environ.get(CLOCK_VARIABLE)
    if stated is None:
        return None
    if stated not in CLOCKS:
        raise ArchiveError(f"{CLOCK_VARIABLE}={stated[:60]!r} is no clock; use one of {', '.join(CLOCKS)}")
    return Clock(stated, f"set by {CLOCK_VARIABLE}")


def room_clock(rooms: Rooms, unix_sources: Sequence[tuple[Source, str]], plays: Source | None, file: str) -> Clock:
    """The clock of the rooms.

    Args:
        rooms: on their own clock.
        unix_sources: files with a column in Unix milliseconds, and its name.
        plays: the file of plays, whose p_date is the Shanghai day of the start; used only where there are no
            `unix_sources` to compare with.
        file: of the rooms, for messages.

    Raises:
        ArchiveError: neither clock fits, or both, or there is nothing to compare with.
    """
    if (stated := stated_clock()) is not None:
        return stated
    samples = [sample(source, "live_id", column) for source, column in unix_sources]
    ids = np.concatenate([ids for ids, _ in samples]) if samples else np.zeros(0, np.int64)
    times = np.concatenate([times for _, times in samples]) if samples else np.zeros(0, np.int64)
    shares, compared = _shares(rooms, ids, {name: times + offset for name, offset in CLOCKS.items()})
    against = ", ".join(dict.fromkeys(source.file.partition("_part")[0] for source, _ in unix_sources))
    if compared:
        return _choose(shares, f"events of {against} within the life of their room", compared, file)
    shares, compared = _day_shares(plays)
    if compared and plays is not None:
        return _choose(shares, f"p_date of {plays.file} is the Shanghai day of the start", compared, file)
    raise ArchiveError(
        f"{file} does not say on which clock its times are, and there is nothing in Unix milliseconds to compare them with; "
        f"add live_comment.csv or a shard of live_emb_128_ts, or set {CLOCK_VARIABLE} to utc or shanghai"
    )


def file_clock(rooms: Rooms, source: Source, column: str, of_rooms: Clock) -> Clock:
    """The clock of another file's written times, found by comparison with the rooms in UTC.

    Where there is too little to compare, it is the clock of the rooms.

    Raises:
        ArchiveError: neither clock fits, or both.
    """
    if CLOCK_VARIABLE in os.environ:
        return of_rooms
    ids, times = sample(source, "live_id", column)
    shares, compared = _shares(rooms, ids, {name: times - offset for name, offset in CLOCKS.items()})
    if compared < LEAST_ROWS:
        return Clock(of_rooms.name, f"as the rooms: only {compared} of its rows could be compared")
    return _choose(shares, f"{column} within the life of its room", compared, source.file)


def sample(source: Source, first: str, second: str) -> tuple[Ints, Ints]:
    """[n] and [n], two columns of the first rows of a file; -1 is null."""
    parts, rows = [(np.zeros(0, np.int64),) * 2], 0
    with suppress(UnreadableFileError):  # what could be read is enough here; landing the file books the damage
        for batch in source.batches((first, second)):
            parts.append((whole_numbers(batch.rows.column(first)), whole_numbers(batch.rows.column(second))))
            rows += len(batch.lines)
            if rows >= SAMPLE_ROWS:
                break
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _shares(rooms: Rooms, ids: Ints, times: Mapping[str, Ints]) -> tuple[dict[str, float], int]:
    """For each clock, the share of events within their room's life; and of how many (rooms known, with an end)."""
    index, known = rooms.find(ids)
    known &= rooms.ended[index] != OPEN_END if len(rooms.ids) else False
    index = index[known]
    started, ended = (rooms.started[index], rooms.ended[index]) if len(rooms.ids) else (index, index)
    shares = {}
    for name, times_ms in times.items():
        inside = (times_ms[known] >= started - SLACK_MS) & (times_ms[known] <= ended + SLACK_MS)
        shares[name] = float(inside.mean()) if len(inside) else 0.0
    return shares, len(index)


def _day_shares(plays: Source | None) -> tuple[dict[str, float], int]:
    """For each clock, the share of plays whose p_date is the Shanghai day of their start; and of how many."""
    if plays is None or "p_date" not in plays.columns:
        return {}, 0
    start, p_date = sample(plays, "live_play_start_timestamp", "p_date")
    usable = (start > 0) & (p_date > 0)
    if not usable.any():
        return {}, 0
    return {name: _same_day(start[usable] - offset, p_date[usable]) for name, offset in CLOCKS.items()}, int(usable.sum())


def _same_day(utc: Ints, p_date: Ints) -> float:
    days = (utc + CLOCKS["shanghai"]) // DAY_MS
    distinct, where = np.unique(days, return_inverse=True)
    names = [int((EPOCH + timedelta(days=day)).strftime("%Y%m%d")) for day in np.clip(distinct, 0, 2_000_000).tolist()]
    return float((np.array(names, np.int64)[where] == p_date).mean())


def _choose(shares: Mapping[str, float], what: str, compared: int, file: str) -> Clock:
    (best, share), (_, other) = sorted(shares.items(), key=lambda item: -item[1])
    by_clock = ", ".join(f"{value:.1%} on {name}" for name, value in shares.items())
    if share < LEAST_SHARE or share - other < LEAST_LEAD:
        trouble = "fit neither clock" if share < LEAST_SHARE else "fit both clocks"
        raise ArchiveError(
            f"the times of {file} {trouble} ({what}: {by_clock} of {compared} compared); check that the files are of one "
            f"release, or set {CLOCK_VARIABLE} to utc or shanghai if you know it"
        )
    return Clock(best, f"{what}: {by_clock} of {compared} compared")

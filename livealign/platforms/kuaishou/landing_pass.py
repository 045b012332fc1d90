"""One pass of a Kuaishou archive into a landing run: what both adapters share.

`Pass.batches` gives the good rows of a file and books everything else: bad rows, a file that breaks off, columns that no
documentation knows. `Pass.add` hands rows of the wanted days to the run.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from livealign.days import DAY_MS, EPOCH, day_of, midnight
from livealign.errors import ArchiveError
from livealign.landing.rejects import rows_json
from livealign.landing.run import LandingRun, Progress
from livealign.landing.times import YEAR_2000_MS
from livealign.platforms.csv_blocks import UnreadableFileError
from livealign.platforms.event_ids import People
from livealign.platforms.kuaishou.files import Source, Unfit
from livealign.platforms.kuaishou.rooms import OPEN_END, Ints, Mask, Rooms, whole_numbers
from livealign.platforms.typed_values import BadRow, Kind

T = TypeVar("T")

UNKNOWN_WATCH = -1  # a watch time that the platform did not measure; the viewer did watch
SOMEBODY = "@user"
HIDDEN = "(hidden: LIVEALIGN_ID_KEY is set)"
_MENTION = r"(^|[^0-9A-Za-z_@.])@[^\s@,，。、:：;；!！?？()（）\"']{1,30}"

Columns = Mapping[str, Ints | pa.Array | pa.ChunkedArray]


class Pass:
    """The archive's files, the run, the days it wants, and who has seen how much of it.

    Args:
        platform: its name, under which ids of people are hashed where a secret key is set.
        run: takes the rows.
        wanted: the UTC days that the run lands.
        first_day: of the whole archive, whatever is wanted: what has no day of its own is booked there.
        sizes: bytes of all files that will be read, each time they are read, for the progress.
    """

    def __init__(
        self, platform: str, run: LandingRun, wanted: Sequence[date], first_day: date, sizes: int, progress: Progress | None
    ) -> None:
        self.run = run
        self.first_day = first_day
        self.users = People(f"{platform}_user")
        self.authors = People(f"{platform}_author")
        self._wanted = np.array(sorted((day - EPOCH).days for day in set(wanted)), np.int64)
        self._latest_ms = int(run.now.replace(tzinfo=UTC).timestamp() * 1_000)
        self._sizes, self._done, self._progress = sizes, 0, progress

    def profile_times(self, lines: Ints) -> Ints:
        """[n] when profiles count as observed: the start of the archive's first day.

        The published profiles have no time of their own.
        """
        return np.full(len(lines), midnight(self.first_day))

    def book_unfit(self, unfit: Sequence[Unfit]) -> None:
        """Files that cannot be used at all."""
        for file in unfit:
            self.run.reject(file.spec.table, file.file, 0, file.problem.reason, file.problem.detail, day=self.first_day)

    def advance(self, count: int) -> None:
        """Tell the progress that so many more bytes are done."""
        self._done = min(self._sizes, self._done + count)
        if self._progress:
            self._progress(self._done, self._sizes)

    def batches(self, source: Source, offset_ms: int = 0, unread: Collection[str] = ()) -> Iterator[tuple[pa.Table, Ints]]:
        """The good rows of a file and their row numbers; all others are rejected, once a call.

        Args:
            source: the file.
            offset_ms: its written times' clock minus UTC; times come out in UTC.
            unread: columns that are not needed, so that nothing in them can spoil a row.
        """
        table = source.spec.table
        self.run.used(source.file)
        for name in source.unknown:
            self.run.reject(table, source.file, 0, "unknown_field", name, day=self.first_day)
        rows = 0
        try:
            for batch in ahead(source.batches(tuple(name for name in source.spec.kinds if name not in unread), self.advance)):
                for bad in batch.bad:
                    self._book(source, bad, offset_ms)
                rows += len(batch.lines) + len(batch.bad)
                if len(batch.lines):
                    yield _in_utc(batch.rows, source, offset_ms), batch.lines
        except UnreadableFileError as error:
            detail = f"after {rows} rows: {error}"
            self.run.reject(table, source.file, 0, error.reason, detail[:500], day=self.first_day)

    def wanted(self, *times: Ints) -> Mask:
        """[n] whether a row has a time of a wanted day, or a time out of range (to be rejected)."""
        keep = np.zeros(len(times[0]), np.bool_)
        for times_ms in times:
            keep |= np.isin(times_ms // DAY_MS, self._wanted) | (times_ms < YEAR_2000_MS) | (times_ms > self._latest_ms)
        return keep

    def add(
        self,
        table: str,
        columns: Mapping[str, Ints | pa.Array | pa.ChunkedArray],
        file: str,
        lines: Ints,
        keep: Mask | None = None,
    ) -> None:
        """Hand rows to the run, those of a mask or all."""
        rows = _table(columns)
        if keep is not None and not keep.all():
            rows, lines = rows.filter(pa.array(keep)), lines[keep]
        if len(lines):
            self.run.add(table, rows, file, lines=lines, file_day=self.first_day)

    def add_linked(self, tables: Mapping[str, Columns], file: str, lines: Ints, keep: Mask) -> None:
        """Hand rows of a mask to the run, as many to each table, linked by their line.

        Those of one line land or are rejected together.
        """
        lines = lines[keep]
        if len(lines):
            rows = {name: (_table(columns).filter(pa.array(keep)), lines, lines) for name, columns in tables.items()}
            self.run.add_linked(rows, file, self.first_day)

    def add_vectors(
        self,
        columns: Mapping[str, Ints | pa.Array | pa.ChunkedArray],
        source: str,
        dimension: int,
        file: str,
        lines: Ints,
        ended_at: Ints,
    ) -> None:
        """Hand content vectors to the run; one of another dimension is rejected."""
        sizes = pc.fill_null(pc.list_value_length(columns["vector"]), dimension)
        odd = pc.not_equal(sizes, dimension).to_numpy(zero_copy_only=False)
        here = self.wanted(ended_at)
        rooms = pa.table({"room_id": columns["room_id"]})
        why = ("wrong_dimension", f"not {dimension} numbers")
        self.reject("content_vectors", file, why, odd & here, rooms, lines, ended_at)
        columns = {**columns, "source": pa.repeat(source, len(lines))}
        self.add("content_vectors", columns, file, lines, here & ~odd)

    def reject(self, table: str, file: str, why: tuple[str, str], bad: Mask, rows: pa.Table, lines: Ints, at: Ints) -> None:
        """Reject the rows of a mask, each under the day of its time `at` if that is in range."""
        hidden = [name for name in ("user_id", "author_id") if self.users.hidden and name in rows.schema.names]
        where = np.flatnonzero(bad)
        texts = rows_json(rows.drop_columns(hidden).take(where)) if len(where) else []
        for i, text in zip(where, texts, strict=True):
            believable = YEAR_2000_MS <= at[i] <= self._latest_ms
            day = day_of(int(at[i])) if believable else self.first_day
            self.run.reject(table, file, int(lines[i]), *why, json.loads(text), day)

    def land_rooms(
        self, rooms: Rooms, source: Source, rows: pa.Table, lines: Ints, columns: Mapping[str, pa.ChunkedArray]
    ) -> tuple[Ints, Mask]:
        """Land the rows that stand for a broadcast, and reject those that are a part of one.

        Args:
            rooms: in UTC.
            rows: live_id, author_id, start_timestamp, end_timestamp, in UTC.
            columns: further columns of the landing table.

        Returns:
            [n] the start of each row's broadcast, and whether the row does not belong to another row's.
        """
        ids, authors = whole_numbers(rows.column("live_id")), whole_numbers(rows.column("author_id"))
        started = whole_numbers(rows.column("start_timestamp")).copy()
        ended = whole_numbers(rows.column("end_timestamp"), OPEN_END).copy()
        index, known = rooms.find(ids)
        known &= started >= YEAR_2000_MS
        stands = known.copy()
        stands[known] = rooms.lines[index[known]] == lines[known]
        part = known & ~stands
        for i in np.flatnonzero(part):
            line = rooms.lines[index[i]]
            same = rooms.authors[index[i]] == authors[i]
            reason, detail = (
                ("same_broadcast", "a part of the broadcast of") if same else ("duplicate_key", "the same live_id as")
            )
            values = {"live_id": int(ids[i]), "start_timestamp": int(started[i]), "end_timestamp": int(ended[i])}
            day = day_of(int(rooms.started[index[i]]))
            self.run.reject("rooms", source.file, int(lines[i]), reason, f"{detail} row {line}", values, day)
        started[stands] = rooms.started[index[stands]]
        ended[stands] = rooms.ended[index[stands]]
        landed = {
            "room_id": rows.column("live_id"),
            "author_id": self.people(rows.column("author_id"), self.authors),
            "started_at": pa.array(started, mask=pc.is_null(rows.column("start_timestamp")).to_numpy()),
            "ended_at": pa.array(ended, mask=ended == OPEN_END),
            **columns,
        }
        self.add("rooms", landed, source.file, lines, ~part & self.wanted(started))
        return started, ~part

    def people(self, numbers: pa.ChunkedArray, people: People) -> pa.Array | pa.ChunkedArray:
        """Ids of people from the platform's numbers; null stays null."""
        if not people.hidden:
            return numbers
        return pa.array(people.of(whole_numbers(numbers)), mask=pc.is_null(numbers).to_numpy())

    def _book(self, source: Source, bad: BadRow, offset_ms: int) -> None:
        values = {name: mask_text(value) if isinstance(value, str) else value for name, value in bad.values.items()}
        if self.users.hidden:
            hidden = {"line", *(source.columns.get(name) for name in ("user_id", "author_id"))}
            values = {name: HIDDEN if name in hidden else value for name, value in values.items()}
        day = self._day_of(source, bad, offset_ms)
        self.run.reject(source.spec.table, source.file, bad.line, bad.reason, bad.detail, values, day)

    def _day_of(self, source: Source, bad: BadRow, offset_ms: int) -> date:
        """The day of a bad row where its time can be read, else the archive's first."""
        time = source.spec.time
        text = bad.values.get(source.columns[time]) if time else None
        try:
            if time and source.spec.kinds[time] is Kind.TIME and isinstance(text, str):
                time_ms = int((datetime.fromisoformat(text) - datetime(1970, 1, 1)).total_seconds() * 1_000) - offset_ms
            else:
                time_ms = int(text or 0)
            return day_of(time_ms) if YEAR_2000_MS <= time_ms <= self._latest_ms else self.first_day
        except (ValueError, TypeError, OverflowError):
            return self.first_day


def ahead(batches: Iterator[T]) -> Iterator[T]:
    """The same batches; one is read in another thread while the one before is worked on."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def mask_text(text: str) -> str:
    """The text without the names behind an @."""
    return mask_mentions(pa.chunked_array([pa.array([text], pa.string())]))[0].as_py() if "@" in text else text


def mask_mentions(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """[n] texts in which every name after an @ is `SOMEBODY`."""
    return pc.replace_substring_regex(texts, _MENTION, rf"\1{SOMEBODY}")


def first_of(days: Sequence[date], archive: Path) -> date:
    """The first day of an archive.

    Raises:
        ArchiveError: it has none.
    """
    if not days:
        raise ArchiveError(f"{archive} has no row with a time that can be believed; check that its files are complete")
    return days[0]


def known_watch(milliseconds: pa.ChunkedArray) -> pa.ChunkedArray:
    """[n] watch times, null where the dataset writes that it does not know (-1)."""
    return pc.if_else(pc.equal(milliseconds, UNKNOWN_WATCH), None, milliseconds)


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: pa.array(column) if isinstance(column, np.ndarray) else column for name, column in columns.items()})


def _in_utc(rows: pa.Table, source: Source, offset_ms: int) -> pa.Table:
    if not offset_ms:
        return rows
    for i, name in enumerate(rows.schema.names):
        if source.spec.kinds[name] is Kind.TIME:
            rows = rows.set_column(i, name, pc.subtract(rows.column(name), offset_ms))
    return rows

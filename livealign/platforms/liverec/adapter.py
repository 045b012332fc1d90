"""LiveRec's Twitch logs (Rappaz, McAuley, Aberer, RecSys 2021) → landing tables.

    100k.csv, full_a.csv.gz, …     user,stream,streamer,start,stop without a header, in steps of ten minutes
    liverec.json                   {"start": "2019-04-01T00:00:00Z"}: when step 0 was, which the files do not give

The start comes from LIVEALIGN_LIVEREC_START (which `livealign land --start` sets) or else from liverec.json. How the tables
come about:

- rooms: one for each stream of a streamer, from the first step at which a viewer was in its chat to the last. No title, no
  category, no language.
- plays: one for each row; a viewer is in a room from `start` to `stop`, as far as ten minutes can tell.
- impressions: none are logged. For each play one list is inferred, shown as it begins: the room itself and a sample of the
  others that were live (`livealign.platforms.negatives`); surface is "inferred", there are no positions.
- users, authors: once, when first seen, without any attribute. Streamers' names become hashes.

There is no text. Rows that do not fit are rejected alone, as plays; a damaged file gives the rows before the damage.
"""

import json
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from livealign.days import DAY_MS, EPOCH, day_of, midnight
from livealign.errors import ArchiveError, reason_of
from livealign.files import plain_file
from livealign.landing.run import LandingRun, Progress
from livealign.landing.schema import TIMESTAMP
from livealign.landing.times import YEAR_2000_MS
from livealign.platforms.csv_blocks import UnreadableFileError
from livealign.platforms.event_ids import event_ids
from livealign.platforms.liverec.rows import STEP_MS, Ints, Reader, Spans, Survey, Views, find_csvs
from livealign.platforms.negatives import Candidates, sample_negatives
from livealign.platforms.typed_values import BadRow

SETTINGS = "liverec.json"
VARIABLE = "LIVEALIGN_LIVEREC_START"
NOTES = (
    "times are the start that was given plus steps of ten minutes",
    "impressions are inferred: the room that was entered and a sample of those live at that moment; there is no text",
)
_HOW = (
    f"give the time of step 0: --start 2019-04-01, {VARIABLE}=2019-04-01, or {SETTINGS} with "
    + '{"start": "2019-04-01T00:00:00Z"}'
)


def recognises(archive: Path) -> bool:
    """Whether a CSV file begins with five columns as LiveRec's have them."""
    return bool(find_csvs(archive))


def archive_days(archive: Path) -> list[date]:
    """All UTC days on which a viewer entered a room, sorted; every row is read.

    Raises:
        ArchiveError: there is no file of this format, or no start date.
    """
    start, paths = start_ms(archive), _paths(archive)
    return sorted({day_of(start + step * STEP_MS) for step in Survey.of(paths).steps})


def land_days(archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
    """Land what happened on `days`; the files are read twice, first for the live rooms.

    Raises:
        ArchiveError: there is no file of this format, or no start date.
    """
    start, paths = start_ms(archive), _paths(archive)
    if (archive / SETTINGS).exists():
        run.used(SETTINGS)
    total, done = 2 * sum(path.stat().st_size for path in paths), 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(total, done + count)
        if progress:
            progress(done, total)

    survey = Survey.of(paths, advance)
    work = _Landing(run, days, start, survey, [path.name for path in paths])
    work.land_rooms_and_people()
    reader = Reader()
    for path in paths:
        run.used(path.name)
        rows = 0
        try:
            for views, bad in reader.batches(path, advance):
                rows += len(views.line) + len(bad)
                work.reject(path.name, bad, hidden=reader.users.hidden)
                work.land_views(path.name, views)
        except UnreadableFileError as error:
            run.reject("plays", path.name, 0, error.reason, f"after {rows} rows: {error}"[:500])


def start_ms(archive: Path) -> int:
    """The time of step 0, in Unix milliseconds.

    Raises:
        ArchiveError: no start is given, or it is not a time between 2000 and now.
    """
    given, where = os.environ.get(VARIABLE), VARIABLE
    if not given:
        given, where = _from_settings(archive / SETTINGS), str(archive / SETTINGS)
    if given is None:
        raise ArchiveError(f"LiveRec's files count steps of ten minutes from a start that they do not give; {_HOW}")
    try:
        start = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        raise ArchiveError(f"{where}: {str(given)[:100]!r} is no ISO date or time; {_HOW}") from None
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    if not datetime(2000, 1, 1, tzinfo=UTC) <= start <= datetime.now(UTC):
        raise ArchiveError(f"{where}: {given} is not between 2000 and now; {_HOW}")
    return int(start.timestamp() * 1_000)


class _Landing:
    """The rows of one run: which are of its days, and how they become tables."""

    def __init__(self, run: LandingRun, days: Sequence[date], start: int, survey: Survey, files: list[str]) -> None:
        self._run, self._start, self._survey, self._files = run, start, survey, files
        self._wanted = np.array(sorted({(day - EPOCH).days for day in days}), np.int64)
        self._latest = midnight(run.now.date()) + DAY_MS
        self._per_play = run.config.negatives_per_play
        rooms = survey.rooms
        self._candidates = Candidates.build(rooms.start, rooms.stop, rooms.extra)

    def land_rooms_and_people(self) -> None:
        """Land rooms, streamers and viewers, each on the day on which it was first seen."""
        rooms = self._survey.rooms
        columns = {"room_id": rooms.key, "author_id": rooms.extra, "started_at": rooms.start, "ended_at": rooms.stop}
        self._add_spans("rooms", rooms, columns)
        for table, spans in (("authors", self._survey.authors), ("users", self._survey.users)):
            self._add_spans(table, spans, {f"{table[:-1]}_id": spans.key, "observed_at": spans.start})

    def reject(self, file: str, bad: Sequence[BadRow], hidden: bool) -> None:
        """Reject bad rows as plays; where ids are hidden, without what is in them."""
        for row in bad:
            self._run.reject("plays", file, row.line, row.reason, row.detail, None if hidden else row.values)

    def land_views(self, file: str, views: Views) -> None:
        """Plays, and the lists that they were chosen from."""
        here = self._due(self._start + views.start * STEP_MS)
        views = Views(*(column[here] for column in views))
        if not len(views.line):
            return
        play_id = event_ids("liverec_play", views.user_id, views.room_id, views.start, views.stop)
        samples = sample_negatives(play_id, views.start, views.author_id, self._candidates, self._per_play)
        for plays, of, rooms in samples:
            some = Views(*(column[plays] for column in views))
            self._land_lists(file, some, play_id[plays], of - plays[0], rooms)

    def _land_lists(self, file: str, views: Views, play_id: Ints, of: Ints, rooms: Ints) -> None:
        """Land plays with the impressions that they came from, and `rooms` shown beside the plays `of`."""
        entered_at = self._start + views.start * STEP_MS
        chosen = _impression_ids(play_id, views.room_id)
        who = {"user_id": views.user_id, "author_id": views.author_id, "room_id": views.room_id, "impression_id": chosen}
        left_at = self._start + views.stop * STEP_MS
        plays = _timed({**who, "play_id": play_id, "entered_at": entered_at, "left_at": left_at})
        others = self._survey.rooms
        shown = {
            "impression_id": np.r_[chosen, _impression_ids(play_id[of], others.key[rooms])],
            "user_id": np.r_[views.user_id, views.user_id[of]],
            "author_id": np.r_[views.author_id, others.extra[rooms]],
            "room_id": np.r_[views.room_id, others.key[rooms]],
            "shown_at": np.r_[entered_at, entered_at[of]],
        }
        requests = pa.array([f"{play:016x}" for play in play_id])
        impressions = (
            _timed(shown)
            .append_column("request_id", requests.take(pa.array(np.r_[np.arange(len(play_id)), of])))
            .append_column("surface", pa.repeat("inferred", len(play_id) + len(of)))
        )
        plays = plays.append_column("source", pa.repeat("chat", len(play_id)))
        row = np.arange(len(play_id))
        linked = {
            "plays": (plays, row, views.line),
            "impressions": (impressions, np.r_[row, of], np.r_[views.line, views.line[of]]),
        }
        self._run.add_linked(linked, file)

    def _due(self, at: Ints) -> np.ndarray:
        """[n] whether a time is of a wanted day, or out of range (the run rejects it)."""
        return np.isin(at // DAY_MS, self._wanted) | (at < YEAR_2000_MS) | (at >= self._latest)

    def _add_spans(self, table: str, spans: Spans, columns: dict[str, Ints]) -> None:
        columns = {name: self._start + column * STEP_MS if name.endswith("_at") else column for name, column in columns.items()}
        due = self._due(self._start + spans.start * STEP_MS)
        rows = _timed(columns)
        for number, file in enumerate(self._files):
            here = np.flatnonzero(due & (spans.file == number))
            if len(here):
                self._run.add(table, rows.take(here), file, lines=spans.line[here])


def _timed(columns: dict[str, Ints]) -> pa.Table:
    """Columns as a table, those that end in _at as times."""
    arrays = {name: pa.array(column, pa.int64()) for name, column in columns.items()}
    return pa.table({name: array.cast(TIMESTAMP) if name.endswith("_at") else array for name, array in arrays.items()})


def _impression_ids(play_id: Ints, room_id: Ints) -> Ints:
    return event_ids("liverec_impression", play_id, room_id)


def _paths(archive: Path) -> list[Path]:
    paths = find_csvs(archive)
    if not paths:
        raise ArchiveError(
            f"{archive} has no CSV file of LiveRec; expected 100k.csv or full_a.csv.gz with user,stream,streamer,start,stop"
        )
    return paths


def _from_settings(path: Path) -> str | None:
    try:
        settings = json.loads(plain_file(path).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{path} cannot be read ({reason_of(error)}); {_HOW}") from None
    start = settings.get("start") if isinstance(settings, dict) else None
    if start is not None and not isinstance(start, str):
        raise ArchiveError(f"{path}: start is no text; {_HOW}")
    return start

"""Rows of LiveRec's CSV files, and the rooms, people and days that all of them name.

    user,stream,streamer,start,stop        no header; start and stop count steps of ten minutes, stop is not included

Bad rows, beside those of `livealign.platforms.typed_batches`:

    missing_value       a field is empty
    id_out_of_range     a negative user or stream
    step_out_of_range   a step below 0, or of more than a century
    negative_duration   the stop is before the start

Memory grows with the distinct rooms, viewers and streamers, not with the rows.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from livealign import ids
from livealign.platforms.csv_blocks import UnreadableFileError
from livealign.platforms.event_ids import People, event_ids
from livealign.platforms.typed_batches import read_batches
from livealign.platforms.typed_values import BadRow, Kind

COLUMNS = ("user", "stream", "streamer", "start", "stop")
KINDS = dict(zip(COLUMNS, (Kind.INTEGER, Kind.INTEGER, Kind.TEXT, Kind.INTEGER, Kind.INTEGER), strict=True))
STEP_MS = 600_000
MAX_STEP = 100 * 366 * 144
PEEK_BYTES = 4_096
MERGE_ROWS = 1 << 20  # that wait at least, before they are merged
_ROW = re.compile(rb"\d+,\d+,[^,\r\n]*,\d+,\d+\r?")
_HEADER = re.compile(rb"user,stream,streamer,start,stop\r?")

Ints = npt.NDArray[np.int64]


class Views(NamedTuple):
    """n good rows: viewers who were in a stream's chat from one step to another."""

    user_id: Ints  # [n]
    author_id: Ints  # [n]
    room_id: Ints  # [n]
    start: Ints  # [n] steps
    stop: Ints  # [n] steps
    line: Ints  # [n]


def find_csvs(archive: Path) -> list[Path]:
    """The files whose first line is one of LiveRec's, by name."""
    return [path for path in sorted([*archive.glob("*.csv"), *archive.glob("*.csv.gz")]) if path.is_file() and _peek(path)]


class Reader:
    """A reader of files to `Views`; with a secret key, ids of people are keyed hashes."""

    def __init__(self) -> None:
        self.users = People("liverec_user")
        self._secret = ids.secret_key()
        self._authors: dict[str, int] = {}

    def batches(self, path: Path, advance: Callable[[int], None] | None = None) -> Iterator[tuple[Views, list[BadRow]]]:
        """The good and the bad rows of a file, in order.

        Raises:
            UnreadableFileError: the file cannot be read to its end; what came before has been yielded by then.
        """
        names = None if _HEADER.fullmatch(_first_line(path)) else COLUMNS
        for batch in read_batches(path, KINDS, advance, names):
            faults = _faults(batch.rows)
            good = np.ones(len(batch.lines), np.bool_)
            bad = list(batch.bad)
            for reason, detail, hit in faults:
                here = np.flatnonzero(hit & good)
                values = batch.rows.take(here).to_pylist()
                bad += [BadRow(int(batch.lines[i]), reason, detail, row) for i, row in zip(here, values, strict=True)]
                good &= ~hit
            yield self._views(batch.rows.filter(pa.array(good)), batch.lines[good]), bad

    def _views(self, rows: pa.Table, lines: Ints) -> Views:
        user, stream, start, stop = (rows.column(name).to_numpy() for name in ("user", "stream", "start", "stop"))
        author_id = self._author_ids(rows.column("streamer"))
        return Views(self.users.of(user), author_id, event_ids("liverec_room", author_id, stream), start, stop, lines)

    def _author_ids(self, names: pa.ChunkedArray) -> Ints:
        encoded = pc.dictionary_encode(names).combine_chunks()
        array = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        known = self._authors
        for name in array.dictionary.to_pylist():
            if name not in known:
                known[name] = ids.person_id("liverec_author", name, self._secret)
        codes = np.array([known[name] for name in array.dictionary.to_pylist()], np.int64)
        return codes[array.indices.to_numpy()] if len(codes) else np.zeros(0, np.int64)


@dataclass
class Spans:
    """First start, last stop and place (file, line) of the first start for each key."""

    key: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    extra: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # something that is the same in all rows of a key
    start: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    stop: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    file: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    line: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    _waiting: list[tuple[Ints, ...]] = field(default_factory=list)
    _rows: int = 0

    def add(self, key: Ints, extra: Ints, views: Views, file: int) -> None:
        """Take in rows; they are merged when there are as many as are known already."""
        self._waiting.append((key, extra, views.start, views.stop, np.full(len(key), file, np.int64), views.line))
        self._rows += len(key)
        if self._rows > max(MERGE_ROWS, len(self.key)):
            self.merge()

    def merge(self) -> None:
        """Merge what waits; keys are sorted afterwards."""
        every = [(self.key, self.extra, self.start, self.stop, self.file, self.line), *self._waiting]
        key, extra, start, stop, file, line = (np.concatenate(column) for column in zip(*every, strict=True))
        order = np.lexsort((line, file, start, key))
        key, stop = key[order], stop[order]
        first = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, np.int64)
        self.key, self.stop = key[first], np.maximum.reduceat(stop, first) if len(first) else stop
        self.extra, self.start, self.file, self.line = (column[order][first] for column in (extra, start, file, line))
        self._waiting, self._rows = [], 0


@dataclass
class Survey:
    """Rooms (extra: the streamer), viewers, streamers, and the steps at which plays began."""

    rooms: Spans = field(default_factory=Spans)
    users: Spans = field(default_factory=Spans)
    authors: Spans = field(default_factory=Spans)
    steps: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, paths: list[Path], advance: Callable[[int], None] | None = None) -> "Survey":
        """Read the files once; of a damaged one what can be read."""
        survey, reader = cls(), Reader()
        for number, path in enumerate(paths):
            try:
                for views, _ in reader.batches(path, advance):
                    survey.rooms.add(views.room_id, views.author_id, views, number)
                    survey.users.add(views.user_id, views.user_id, views, number)
                    survey.authors.add(views.author_id, views.author_id, views, number)
                    survey.steps.update(np.unique(views.start).tolist())
            except UnreadableFileError:
                continue  # landing names it
        for spans in (survey.rooms, survey.users, survey.authors):
            spans.merge()
        return survey


def _faults(rows: pa.Table) -> list[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Reason, detail and rows [n] of every fault of a row; the first one counts."""
    number = {name: pc.fill_null(rows.column(name), 0).to_numpy() for name in COLUMNS if KINDS[name] is Kind.INTEGER}
    outside = {name: (number[name] < 0) | (number[name] > MAX_STEP) for name in ("start", "stop")}
    faults = [("missing_value", f"{name} is empty", rows.column(name).is_null().to_numpy()) for name in COLUMNS]
    faults += [("id_out_of_range", f"{name} is negative", number[name] < 0) for name in ("user", "stream")]
    faults += [("step_out_of_range", f"{name} is no step from 0 to {MAX_STEP}", hit) for name, hit in outside.items()]
    faults.append(("negative_duration", "stop is before start", number["stop"] < number["start"]))
    return faults


def _first_line(path: Path) -> bytes:
    """The first line, without its newline; empty where the file cannot be read."""
    try:
        with path.open("rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            return stream.read1(PEEK_BYTES).partition(b"\n")[0]
    except (OSError, EOFError, zlib.error):
        return b""


def _peek(path: Path) -> bool:
    line = _first_line(path)
    return bool(_ROW.fullmatch(line) or _HEADER.fullmatch(line))

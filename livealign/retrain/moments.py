"""Choose moments of the held-out day, with picture, words, codes and what happened next."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from livealign.codes.names import path_names
from livealign.dataset.columns import ints, rows_by_key
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import TASKS
from livealign.dataset.marts import read_mart
from livealign.days import partition
from livealign.evaluation.frame import CLICK
from livealign.evaluation.moments import ShownMoment
from livealign.files import read_json
from livealign.release.bundle import CODE_NAMES
from livealign.retrain.artifacts import DayArtifacts, read_codes
from livealign.retrain.frames import MART, read_frame

MOMENTS, SILENT = 10, 3  # in all, and of these in which nothing was said, if there are so many
NOTE = (
    "Windows of the held-out day that users were shown, of different rooms, drawn by the seed of the evaluation: the newest "
    "picture, what was said, the codes from coarse to fine with their names, and what happened next."
)
_LINE = 160  # characters of a line
_LONG_VIEW = TASKS.index("long_view")


def shown_moments(
    corpus: Corpus,
    segments: pa.Table,
    artifacts: DayArtifacts,
    marts: Path,
    landing: Path,
    characters: NDArray[np.int64],
    seed: int,
) -> list[ShownMoment]:
    """Ten windows with a picture, fewer where fewer rooms have one.

    Args:
        segments: the mart of the corpus' days, with titles and texts.
        characters: [segments] length of what was said in each segment.

    Raises:
        LiveAlignError: a picture is missing from the landing folder, or damaged there.
    """
    if not partition(marts, MART, corpus.day).exists():
        return []
    frames = read_mart(marts, MART, [corpus.day], ("segment_id", "frame_path"))
    paths = dict(zip(ints(frames, "segment_id").tolist(), frames["frame_path"].to_pylist(), strict=True))
    shown = np.unique(corpus.test.segment)
    with_picture = np.array([segment in paths for segment in corpus.segment_ids[shown].tolist()], bool)
    rows = chosen_rows(shown[with_picture], corpus.segment_room_id, characters, seed)
    said = _Said.of(corpus, segments)
    names, codes = read_json(artifacts.codes / CODE_NAMES), read_codes(artifacts)
    return [
        ShownMoment(
            read_frame(landing / paths[int(corpus.segment_ids[row])]),
            said.heading(row),
            said.lines(row),
            [(str(code), name) for code, name in zip(codes[row].tolist(), path_names(codes[row].tolist(), names), strict=True)],
            _then(corpus, said, codes, names, row),
        )
        for row in rows.tolist()
    ]


def chosen_rows(
    candidates: NDArray[np.int64], room: NDArray[np.int64], characters: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """At most MOMENTS segment rows of different rooms, in random order.

    SILENT of them are without a word, if there are so many.
    """
    order = np.random.default_rng(seed).permutation(candidates)
    order = order[np.sort(np.unique(room[order], return_index=True)[1])]
    silent, talking = order[characters[order] <= 0], order[characters[order] > 0]
    first = silent[:SILENT]
    rest = talking[: MOMENTS - len(first)]
    more = silent[SILENT : SILENT + MOMENTS - len(first) - len(rest)]
    chosen = np.concatenate([first, rest, more])
    return np.random.default_rng(seed).permutation(chosen)


class _Said:
    """The words of segment rows."""

    def __init__(self, columns: Mapping[str, list[str]], minutes: NDArray[np.int64]) -> None:
        self.columns, self.minutes = columns, minutes

    @classmethod
    def of(cls, corpus: Corpus, segments: pa.Table) -> "_Said":
        rows = rows_by_key(ints(segments, "segment_id"), corpus.segment_ids)
        columns = {}
        for name in ("title", "category", "speech_text", "chat_text"):
            values = pc.fill_null(segments[name], "").to_pylist()
            columns[name] = [values[row] if row >= 0 else "" for row in rows.tolist()]
        first = corpus.segment_started_at[corpus.segment_first]
        return cls(columns, (corpus.segment_started_at - first) // 60_000)

    def heading(self, row: int) -> str:
        """Title, category and minute."""
        parts = [self.columns["title"][row], self.columns["category"][row], f"minute {self.minutes[row]}"]
        return _cut(" · ".join(part for part in parts if part))

    def lines(self, row: int) -> list[str]:
        """A line of the host's words and one of the viewers'."""
        speech, chat = self.columns["speech_text"][row], self.columns["chat_text"][row].replace("\n", " / ")
        lines = [_cut(f"{who}: {words}") for who, words in (("host", speech), ("chat", chat)) if words]
        return lines or ["nothing was said"]


def _then(corpus: Corpus, said: _Said, codes: NDArray[np.integer], names: Mapping[str, str], row: int) -> list[str]:
    """How many of those who were shown the window entered and stayed, and the room's next window."""
    mine = corpus.test.segment == row
    entered, stayed = (int(np.nansum(corpus.test.labels[mine, task])) for task in (CLICK, _LONG_VIEW))
    lines = [f"shown to {int(mine.sum())}: {entered} entered, {stayed} stayed long"]
    later = np.flatnonzero(
        (corpus.segment_room_id == corpus.segment_room_id[row]) & (corpus.segment_started_at > corpus.segment_started_at[row])
    )
    if not len(later):
        return [*lines, "no later window was shown"]
    after = int(later[corpus.segment_started_at[later].argmin()])
    seconds = int(corpus.segment_started_at[after] - corpus.segment_started_at[row]) // 1000
    path = codes[after].tolist()
    name = next(filter(None, reversed(path_names(path, names))), "")
    return [*lines, f"{seconds} s later: {'-'.join(map(str, path))} {name}", *said.lines(after)[:1]]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"

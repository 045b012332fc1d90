"""A landed day through the live core in fast time, held against what the batch pipeline computed: a difference is a defect.

    report = replay_day(home, date(2025, 6, 9), scratch)

The core starts at midnight from what the marts knew then, takes the day's events window by window, and refreshes at the end of
each. Compared are the day's segments that the pipeline embedded (embedding, aligned vector, codes) and its held-out
impressions (all probabilities).
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from livealign.config import DatasetConfig, LiveConfig
from livealign.dataset.corpus import TUNED, Corpus, load_corpus
from livealign.dataset.marts import built_days, read_mart
from livealign.days import end_of, midnight
from livealign.errors import LiveAlignError
from livealign.events.log import EventLog
from livealign.files import read_json
from livealign.home import Home
from livealign.live.core import LiveCore
from livealign.release.bundle import SNAPSHOT, Bundle, open_bundle
from livealign.release.contents import read_vocabulary, rows_with_content, with_snapshot
from livealign.release.snapshot import write_snapshot
from livealign.replay.events import Timed, day_events, landed_number
from livealign.retrain.artifacts import DayArtifacts, read_codes, read_scores, read_vectors
from livealign.retrain.corpus import with_embeddings

Floats = NDArray[np.float32]

_CONFIG = LiveConfig(
    lateness_seconds=0.0,
    tick_budget_seconds=1e9,
    publish_seconds=0.0,
    room_memory_seconds=86_400.0,
    checkpoint_seconds=1e9,
)


class Difference(NamedTuple):
    """What one thing differs by between service and pipeline."""

    compared: int
    missing: int  # that the pipeline has and the service has not
    largest: float
    mean: float


@dataclass(frozen=True)
class ReplayReport:
    """Service against pipeline on one day."""

    release_id: str
    events: int
    rejected: int
    embeddings: Difference  # 1 − cosine
    vectors: Difference  # 1 − cosine of the aligned vectors
    equal_codes: float  # share of compared segments whose codes are all the same
    scores: Difference  # of probabilities, absolute

    def problems(self, embedding: float = 0.01, codes: float = 0.97, score: float = 0.02) -> list[str]:
        """What lies outside the tolerance of bf16 arithmetic; empty when all is as it should be."""
        found = []
        for name in ("embeddings", "vectors", "scores"):
            one: Difference = getattr(self, name)
            if one.missing:
                found.append(f"{one.missing} of {one.missing + one.compared} {name} are missing in the service")
            if not one.compared:
                found.append(f"no {name} could be compared")
            if one.mean > (score / 10 if name == "scores" else embedding / 10):
                found.append(f"{name} differ by {one.mean:.5f} on average")
        if self.equal_codes < codes:
            found.append(f"only {self.equal_codes:.1%} of the codes are equal")
        return found


@dataclass
class _Clock:
    now: float

    def __call__(self) -> float:
        return self.now


def replay_day(home: Home, day: date, scratch: Path, progress: Callable[[int, int], None] | None = None) -> ReplayReport:
    """Replay the day through the release that was made for it.

    Args:
        scratch: an empty folder for the core's log and its starting state.

    Raises:
        LiveAlignError: the day has not been landed, built, or retrained for.
    """
    artifacts = DayArtifacts.of(home, day)
    bundle = open_bundle(home.releases / read_json(artifacts.release / "bundle.json")["release_id"])
    corpus = _corpus(home, day, bundle)
    rooms = rooms_of(home.marts, day)
    events = day_events(home.landing, rooms, day)
    start = min([midnight(day), *(one.at for one in events)])
    clock = _Clock(start / 1000)
    core = LiveCore.open(
        _bundle_at(bundle, corpus, home, artifacts, midnight(day), scratch),
        EventLog(scratch / "log", clock),
        home.models,
        _CONFIG,
        clock,
        number=landed_number,
    )
    try:
        return _Replay(core, clock, corpus, artifacts, bundle.release_id).run(events, start, progress)
    finally:
        core.stop()


class _Replay:
    """One run."""

    def __init__(self, core: LiveCore, clock: _Clock, corpus: Corpus, artifacts: DayArtifacts, release_id: str) -> None:
        self.core, self.clock, self.corpus, self.release_id = core, clock, corpus, release_id
        self.window_ms = core.state.window_ms
        self.embedded, self.vectors, self.codes = corpus.content[TUNED], read_vectors(artifacts), read_codes(artifacts)
        ids, raw = (np.load(artifacts.embeddings / f"{name}.npy", allow_pickle=False) for name in ("segment_ids", TUNED))
        self.raw = dict(zip(ids.tolist(), raw, strict=True))
        self.expected = read_scores(artifacts)
        self.found: dict[int, tuple[Floats, Floats, NDArray]] = {}
        self.scores: dict[int, Floats] = {}
        self.rejected = 0

    def run(self, events: list[Timed], start: int, progress: Callable[[int, int], None] | None) -> ReplayReport:
        state, test = self.core.state, self.corpus.test
        state.closed_until = start // self.window_ms - 1
        for room_id in list(state.rooms):  # those that went on over midnight are told of again
            state.forget_room(room_id)
        by_window: dict[int, list[Timed]] = defaultdict(list)
        for event in events:
            by_window[event.at // self.window_ms].append(event)
        shown: dict[int, dict[tuple[int, int], list[int]]] = defaultdict(lambda: defaultdict(list))
        for row, (at, user) in enumerate(zip(test.shown_at.tolist(), test.user_id.tolist(), strict=True)):
            shown[at // self.window_ms][at, user].append(row)
        last = end_of(self.corpus.day) // self.window_ms
        for window in range(start // self.window_ms, last):
            self._window(window, by_window.get(window, []), shown.get(window, {}))
            if progress:
                progress(window - start // self.window_ms + 1, last - start // self.window_ms)
        return self._report(len(events))

    def _window(self, window: int, events: list[Timed], lists: dict[tuple[int, int], list[int]]) -> None:
        waiting: list[dict[str, Any]] = []
        for (at, user), rows in sorted(lists.items()):
            while events and events[0].at < at:
                waiting.append(events.pop(0).item)
            self._tell(waiting, at)
            waiting = []
            self._score(user, at, rows)
        self._tell([*waiting, *(event.item for event in events)], (window + 1) * self.window_ms)
        self.clock.now = (window + 1) * self.window_ms / 1000
        self.core.tick()
        for room in self.core.state.rooms.values():
            if room.encoded is not None and room.encoded.moment.window == window and room.content is not None:
                moment = int(self.core.state.table["moment"][room.row])
                told = self.core.state.moments
                segment = int(told["segment_id"][moment])
                self.found[segment] = (room.content.vector, told["vector"][moment].copy(), told["codes"][moment].copy())

    def _tell(self, items: list[dict[str, Any]], at: int) -> None:
        self.clock.now = at / 1000
        if items:
            self.rejected += len(self.core.ingest(items).rejected)

    def _score(self, user: int, at: int, rows: list[int]) -> None:
        """The held-out impressions of one list, as the service scores them at that instant."""
        scores = self.core.score(user, self.corpus.test.room_id[rows].tolist(), at)
        self.scores.update((row, one) for row, one in zip(rows, scores, strict=True) if not np.isnan(one).any())

    def _report(self, events: int) -> ReplayReport:
        corpus = self.corpus
        rows = np.flatnonzero(~corpus.segment_is_train & (corpus.segment_ids > 0) & (self.embedded != 0).any(1))
        ids = corpus.segment_ids[rows].tolist()
        both = [(row, one) for row, one in zip(rows.tolist(), ids, strict=True) if one in self.found]
        pairs = {
            "embeddings": [_apart(self.found[one][0], self.raw[one]) for _, one in both],
            "vectors": [_apart(self.found[one][1], self.vectors[row]) for row, one in both],
            "scores": [float(np.abs(told - self.expected[row]).max()) for row, told in sorted(self.scores.items())],
        }
        equal = [bool((self.found[one][2] == self.codes[row]).all()) for row, one in both]
        left = len(ids) - len(both)
        missing = {"embeddings": left, "vectors": left, "scores": len(self.expected) - len(self.scores)}
        told = {name: _difference(values, missing[name]) for name, values in pairs.items()}
        return ReplayReport(self.release_id, events, self.rejected, equal_codes=float(np.mean(equal)) if equal else 0.0, **told)


def _corpus(home: Home, day: date, bundle: Bundle) -> Corpus:
    """As the retrain for the day had it."""
    config = dict(bundle.manifest["config"]["dataset"])
    window = bundle.manifest["data_window"]
    first, end = (date.fromisoformat(window[name]) for name in ("start", "train_end"))
    config["train_days"] = (day - first).days
    corpus = load_corpus(home.marts, day, DatasetConfig(**config), read_vocabulary(bundle))
    if corpus.train_days[-1] != end:
        raise LiveAlignError(f"{home.marts} holds other days than {bundle.release_id} was trained on; retrain for {day} first")
    return with_embeddings(corpus, DayArtifacts.of(home, day).embeddings)


def _bundle_at(bundle: Bundle, corpus: Corpus, home: Home, artifacts: DayArtifacts, moment: int, scratch: Path) -> Path:
    """The same release, with a snapshot of the day's beginning."""
    length = int(bundle.manifest["config"]["dataset"]["history_length"])
    moments = rows_with_content(corpus, corpus.content[TUNED], read_vectors(artifacts), read_codes(artifacts))
    snapshot = write_snapshot(scratch / SNAPSHOT, home.marts, moment, *moments, history_length=length)
    return with_snapshot(bundle, snapshot, scratch / "release")


def rooms_of(marts: Path, day: date) -> dict[int, dict[str, Any]]:
    """The rooms of the day and of the day before, by id; times in epoch milliseconds."""
    days = [one for one in built_days(marts, "rooms") if day - timedelta(days=1) <= one <= day]
    table = read_mart(marts, "rooms", days, ("room_id", "author_id", "title", "category", "language", "started_at", "ended_at"))
    for name in ("started_at", "ended_at"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table[name].cast(pa.timestamp("ms")).cast(pa.int64()))
    return {row["room_id"]: row for row in table.to_pylist()}


def _apart(mine: Floats, theirs: Floats) -> float:
    """1 − cosine."""
    length = float(np.linalg.norm(mine) * np.linalg.norm(theirs))
    return 1.0 if not length else max(0.0, 1.0 - float(mine @ theirs) / length)


def _difference(values: list[float], missing: int) -> Difference:
    if not values:
        return Difference(0, missing, 0.0, 0.0)
    return Difference(len(values), missing, max(values), float(np.mean(values)))

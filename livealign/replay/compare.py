"""Replay a landed day through the live core and compare with the batch pipeline.

    report = replay_day(home, date(2025, 6, 9), scratch)

The core starts at midnight from a snapshot of the marts, takes the day's events window by window in fast time, and refreshes at
the end of each. Compared are the day's segments that the pipeline embedded (vector of each source, aligned vector, codes) and
its held-out impressions (all probabilities). A deviation beyond bf16 arithmetic is a defect.
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
from livealign.dataset.content import content_names, own_content
from livealign.dataset.corpus import FRAMES, LEXICAL, TUNED, Corpus, load_corpus
from livealign.dataset.marts import built_days, read_mart
from livealign.days import end_of, midnight
from livealign.errors import LiveAlignError
from livealign.events.log import EventLog
from livealign.files import read_json
from livealign.home import Home
from livealign.live.core import LiveCore
from livealign.release.bundle import SNAPSHOT, Bundle, open_bundle
from livealign.release.contents import read_vocabulary, rows_with_content, with_snapshot
from livealign.release.models import reads_pictures, sources_of
from livealign.release.snapshot import write_snapshot
from livealign.replay.events import Timed, day_events, day_frames, landed_number
from livealign.retrain.artifacts import FRAME_IDS, DayArtifacts, read_codes, read_scores, read_vectors
from livealign.retrain.corpus import with_embeddings

Floats = NDArray[np.float32]

EXACT = 1e-6  # deviation of what the service and the pipeline compute by the same sums

_CONFIG = LiveConfig(
    lateness_seconds=0.0,
    tick_budget_seconds=1e9,
    publish_seconds=0.0,
    room_memory_seconds=86_400.0,
    checkpoint_seconds=1e9,
)


class Deviation(NamedTuple):
    """The deviation of one result of the service from the pipeline's."""

    compared: int
    missing: int  # results that the pipeline has and the service does not
    largest: float
    mean: float


@dataclass(frozen=True)
class ReplayReport:
    """The deviations of the service from the pipeline on one day."""

    release_id: str
    events: int
    rejected: int
    embeddings: Deviation | None  # 1 − cosine, of the LLM; None if the release does not read it
    lexical: Deviation | None  # 1 − cosine, of counted words; None if the release does not read them
    vectors: Deviation  # 1 − cosine of the aligned vectors
    equal_codes: float  # share of compared segments whose codes are all the same
    scores: Deviation  # of probabilities, absolute
    frames: Deviation | None = None  # 1 − cosine, of pictures; None if the release does not read them

    def problems(self, embedding: float = 0.01, codes: float = 0.97, score: float = 0.02) -> list[str]:
        """The deviations beyond the tolerance of bf16 arithmetic; empty if there are none."""
        problems = []
        for name in ("embeddings", "lexical", "frames", "vectors", "scores"):
            deviation: Deviation | None = getattr(self, name)
            if deviation is None:
                continue
            missing, compared = deviation.missing, deviation.compared
            if missing:
                problems.append(f"{missing} of {missing + compared} {name} are missing in the service")
            if not compared:
                problems.append(f"no {name} could be compared")
            tolerance = {"scores": score / 10, "lexical": EXACT}.get(name, embedding / 10)  # words are counted, not computed
            if deviation.mean > tolerance:
                problems.append(f"{name} differ by {deviation.mean:.5f} on average")
        if self.equal_codes < codes:
            problems.append(f"only {self.equal_codes:.1%} of the codes are equal")
        return problems


@dataclass
class _Clock:
    now: float

    def __call__(self) -> float:
        return self.now


def replay_day(home: Home, day: date, scratch: Path, progress: Callable[[int, int], None] | None = None) -> ReplayReport:
    """Replay a day through the release that was made for it.

    Args:
        scratch: an empty folder for the core's log and its first snapshot.

    Raises:
        LiveAlignError: the day has not been landed, built, or retrained for; or its retrain read a part of the windows.
    """
    artifacts = DayArtifacts.of(home, day)
    bundle = open_bundle(home.releases / read_json(artifacts.release / "bundle.json")["release_id"])
    if any(bundle.manifest["config"].get("reading", {}).values()):  # a release without a budget may not name it
        raise LiveAlignError(
            f"release {bundle.release_id} has a reading budget and the service reads every window, so their vectors differ; "
            "replay a day that was retrained without one"
        )
    corpus = _corpus(home, day, bundle)
    rooms = rooms_of(home.marts, day)
    events = day_events(home.landing, rooms, day)
    if reads_pictures(bundle):
        # A picture comes after its room's start, which may have the same time.
        events = sorted([*events, *day_frames(home.landing, rooms, day)], key=lambda event: event.at)
    start = min([midnight(day), *(event.at for event in events)])
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
        return _Replay(core, clock, corpus, artifacts, bundle, home.landing).run(events, start, progress)
    finally:
        core.stop()


class _Replay:
    """One replay: a core, its clock, the pipeline's results and the service's."""

    def __init__(
        self, core: LiveCore, clock: _Clock, corpus: Corpus, artifacts: DayArtifacts, bundle: Bundle, landing: Path
    ) -> None:
        self.landing = landing
        self.core, self.clock, self.corpus, self.release_id = core, clock, corpus, bundle.release_id
        self.window_ms, sources = core.state.window_ms, sources_of(bundle)
        self.embedded, self.vectors, self.codes = own_content(corpus, sources), read_vectors(artifacts), read_codes(artifacts)
        texts = [name for name in content_names(sources) if name != FRAMES]
        ids, *raw = (np.load(artifacts.embeddings / f"{name}.npy", allow_pickle=False) for name in ("segment_ids", *texts))
        self.raw = dict(zip(ids.tolist(), np.concatenate([np.zeros((len(ids), 0), np.float32), *raw], axis=1), strict=True))
        ends = np.cumsum([part.shape[1] for part in raw]).tolist()
        self.columns = dict(zip(texts, map(slice, [0, *ends], ends), strict=False))  # of each source of text
        self.raw_frames: dict[int, Floats] | None = None
        if "frames" in sources:
            of_frames = (np.load(artifacts.embeddings / f"{name}.npy", allow_pickle=False) for name in (FRAME_IDS, FRAMES))
            frame_ids, vectors = of_frames
            self.raw_frames = dict(zip(frame_ids.tolist(), vectors.astype(np.float32, copy=False), strict=True))
        self.seen: dict[int, Floats] = {}
        self.expected = read_scores(artifacts)
        self.encoded: dict[int, tuple[Floats, Floats, NDArray]] = {}
        self.scores: dict[int, Floats] = {}
        self.rejected = 0

    def run(self, events: list[Timed], start: int, progress: Callable[[int, int], None] | None) -> ReplayReport:
        state, test = self.core.state, self.corpus.test
        state.closed_until = start // self.window_ms - 1
        for room_id in list(state.rooms):  # the events start the rooms of midnight again
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
            self._ingest(waiting, at)
            waiting = []
            self._score(user, at, rows)
        self._ingest([*waiting, *(event.item for event in events)], (window + 1) * self.window_ms)
        self.clock.now = (window + 1) * self.window_ms / 1000
        self.core.tick()
        state, coded_windows = self.core.state, self.core.state.coded_windows
        for room in state.rooms.values():
            if room.encoded is not None and room.encoded.text.window == window and room.content is not None:
                row = int(state.table["coded_row"][room.row])
                vector, codes = coded_windows["vector"][row].copy(), coded_windows["codes"][row].copy()
                segment = int(coded_windows["segment_id"][row])
                self.encoded[segment] = (room.content.vector, vector, codes)
                if room.encoded.seen_frame is not None and room.seen is not None:
                    self.seen[segment] = room.seen.vector

    def _ingest(self, items: list[dict[str, Any]], at: int) -> None:
        self.clock.now = at / 1000
        frames = [item for item in items if item["kind"] == "frame"]
        if events := [item for item in items if item["kind"] != "frame"]:
            self.rejected += len(self.core.ingest(events).rejected)
        for frame in frames:
            data = (self.landing / frame["path"]).read_bytes()
            self.rejected += self.core.frame(frame["room_id"], frame["at"], data) is None

    def _score(self, user: int, at: int, rows: list[int]) -> None:
        """Score the held-out impressions of one list with the service at their time."""
        scores = self.core.score(user, self.corpus.test.room_id[rows].tolist(), at)
        self.scores.update((row, score) for row, score in zip(rows, scores, strict=True) if not np.isnan(score).any())

    def _report(self, events: int) -> ReplayReport:
        corpus = self.corpus
        rows = np.flatnonzero(~corpus.segment_is_train & (corpus.segment_ids > 0) & (self.embedded != 0).any(1))
        ids = corpus.segment_ids[rows].tolist()
        both = [(row, segment) for row, segment in zip(rows.tolist(), ids, strict=True) if segment in self.encoded]
        left = len(ids) - len(both)

        def of_source(name: str) -> Deviation | None:
            if name not in self.columns:
                return None
            mine = self.columns[name]
            pairs = ((self.encoded[segment][0][mine], self.raw[segment][mine]) for _, segment in both)
            return _deviation([_cosine_distance(*pair) for pair in pairs], left)

        vectors = [_cosine_distance(self.encoded[segment][1], self.vectors[row]) for row, segment in both]
        scores = [float(np.abs(scores - self.expected[row]).max()) for row, scores in sorted(self.scores.items())]
        equal = [bool((self.encoded[segment][2] == self.codes[row]).all()) for row, segment in both]
        return ReplayReport(
            self.release_id,
            events,
            self.rejected,
            embeddings=of_source(TUNED),
            lexical=of_source(LEXICAL),
            vectors=_deviation(vectors, left),
            equal_codes=float(np.mean(equal)) if equal else 0.0,
            scores=_deviation(scores, len(self.expected) - len(self.scores)),
            frames=self._frames(ids),
        )

    def _frames(self, segments: list[int]) -> Deviation | None:
        """The deviation of the vectors of the segments' pictures."""
        if self.raw_frames is None:
            return None
        shown = [segment for segment in segments if segment in self.raw_frames]
        both = [segment for segment in shown if segment in self.seen]
        distances = [_cosine_distance(self.seen[segment], self.raw_frames[segment]) for segment in both]
        return _deviation(distances, len(shown) - len(both))


def _corpus(home: Home, day: date, bundle: Bundle) -> Corpus:
    """The corpus as the retrain for the day had it."""
    config = dict(bundle.manifest["config"]["dataset"])
    window = bundle.manifest["data_window"]
    first, end = (date.fromisoformat(window[name]) for name in ("start", "train_end"))
    config["train_days"] = (day - first).days
    corpus = load_corpus(home.marts, day, DatasetConfig(**config), read_vocabulary(bundle))
    if corpus.train_days[-1] != end:
        raise LiveAlignError(f"{home.marts} holds other days than {bundle.release_id} was trained on; retrain for {day} first")
    return with_embeddings(corpus, DayArtifacts.of(home, day).embeddings)


def _bundle_at(bundle: Bundle, corpus: Corpus, home: Home, artifacts: DayArtifacts, at: int, scratch: Path) -> Path:
    """The same release, with a snapshot at the given time."""
    length = int(bundle.manifest["config"]["dataset"]["history_length"])
    segments = rows_with_content(
        corpus, own_content(corpus, sources_of(bundle)), read_vectors(artifacts), read_codes(artifacts)
    )
    snapshot = write_snapshot(scratch / SNAPSHOT, home.marts, at, *segments, history_length=length)
    return with_snapshot(bundle, snapshot, scratch / "release")


def rooms_of(marts: Path, day: date) -> dict[int, dict[str, Any]]:
    """The rooms of the day and of the day before, by id; times in epoch milliseconds."""
    days = [built_day for built_day in built_days(marts, "rooms") if day - timedelta(days=1) <= built_day <= day]
    table = read_mart(marts, "rooms", days, ("room_id", "author_id", "title", "category", "language", "started_at", "ended_at"))
    for name in ("started_at", "ended_at"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table[name].cast(pa.timestamp("ms")).cast(pa.int64()))
    return {row["room_id"]: row for row in table.to_pylist()}


def _cosine_distance(mine: Floats, theirs: Floats) -> float:
    """1 − cosine of two vectors; 0 if both are zero, 1 if one of them is."""
    if not mine.any() and not theirs.any():
        return 0.0
    length = float(np.linalg.norm(mine) * np.linalg.norm(theirs))
    return 1.0 if not length else max(0.0, 1.0 - float(mine @ theirs) / length)


def _deviation(values: list[float], missing: int) -> Deviation:
    if not values:
        return Deviation(0, missing, 0.0, 0.0)
    return Deviation(len(values), missing, max(values), float(np.mean(values)))

"""Pictures for the day's report: the gate, the map of the codes, one room's path."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from livealign.alignment.gate_report import gate_by, gate_by_popularity
from livealign.alignment.towers import Alignment
from livealign.codes.names import path_names
from livealign.dataset.columns import ints, rows_by_key
from livealign.dataset.corpus import Corpus
from livealign.evaluation.code_plots import code_map, code_path, gate_by_group, trust_plot
from livealign.evaluation.day_truth import DayTruth
from livealign.files import read_json
from livealign.release.bundle import CODE_NAMES
from livealign.retrain.artifacts import DayArtifacts, read_codes, read_vectors
from livealign.retrain.gates import QUALITIES

_MINUTE = 60_000


def day_pictures(
    corpus: Corpus,
    segments: pa.Table,
    truth: DayTruth | None,
    artifacts: DayArtifacts,
    alignment: Alignment,
    content: NDArray[np.float32],
    quality: NDArray[np.int64],
) -> dict[str, bytes]:
    """Pictures of the day's challenger, PNG by caption.

    Args:
        segments: the mart of the corpus' days, at least its ids, categories and texts.
        content: [segments, Σ sources] as the towers read it.
        quality: [segments] how much was said in each segment, as places in QUALITIES.
    """
    vectors, codes = read_vectors(artifacts), read_codes(artifacts)
    held_out = np.flatnonzero(~corpus.segment_is_train)[1:]  # row 0 is no segment
    leans = {
        "impressions": gate_by_popularity(alignment, corpus, content),
        "content": gate_by(alignment, corpus, content, quality, QUALITIES),
    }
    gates = {name: {value: (gate.gate, gate.id_share) for value, gate in groups.items()} for name, groups in leans.items()}
    pictures = {"How the gate leans, by the author's training impressions and by how much was said": gate_by_group(gates)}
    shown = np.bincount(corpus.train.author, minlength=corpus.authors.size)[1:]
    for place, source in enumerate(alignment.source_names):
        if place not in alignment.sizes.unused:
            trust = trust_plot(alignment.author_trust[1:, place][shown > 0], shown[shown > 0])
            pictures[f"Trust that '{source}' predicts an author's clicks better, a point for each author"] = trust
    if len(held_out):
        kind, groups = segment_subjects(corpus, segments, truth)
        pictures[f"Aligned vectors of the held-out day, coloured by {kind}, first codes as numbers"] = code_map(
            vectors[held_out], codes[held_out], [groups[row] for row in held_out], f"Room-moments, by {kind}"
        )
        rooms, counts = np.unique(corpus.segment_room_id[held_out], return_counts=True)
        rows = held_out[corpus.segment_room_id[held_out] == rooms[counts.argmax()]]
        rows = rows[np.argsort(corpus.segment_started_at[rows])]
        names = read_json(artifacts.codes / CODE_NAMES)
        pictures["The first codes of one room, minute by minute, with what was said when they changed"] = code_path(
            (corpus.segment_started_at[rows] - corpus.segment_started_at[rows[0]]) / _MINUTE,
            [": ".join([str(codes[row, 0]), *filter(None, path_names(codes[row, :1].tolist(), names))]) for row in rows],
            _said(corpus, segments, rows),
        )
    return pictures


def segment_subjects(corpus: Corpus, segments: pa.Table, truth: DayTruth | None) -> tuple[str, list[str]]:
    """The subject of each segment [segments]: its true topic (simulator), else its category."""
    if truth is not None:
        return "true topic", truth.topic_of_segments
    return "category", _column(corpus, segments, "category")


def _said(corpus: Corpus, segments: pa.Table, rows: NDArray[np.int64]) -> list[str]:
    speech, chat = (_column(corpus, segments, name) for name in ("speech_text", "chat_text"))
    return [speech[row] or chat[row].replace("\n", " · ") for row in rows]


def _column(corpus: Corpus, segments: pa.Table, name: str) -> list[str]:
    """A text column of the mart `segments` for each segment row; "" where there is nothing."""
    rows = rows_by_key(ints(segments, "segment_id"), corpus.segment_ids)
    values = pc.fill_null(segments[name], "").to_pylist()
    return [values[row] if row >= 0 else "" for row in rows]

"""The champion's scores of the day, computed once, read by drift and by promotion.

    artifacts/<day>/champion/<release id>.npy    float32 [impressions, tasks], in the order of the corpus' held-out day
    artifacts/<day>/champion/<release id>.json   what they were computed from
    artifacts/<day>/champion_earlier/<earlier day>/   the same of an earlier day that is judged too

Scores are read again only while the data, the settings and the code are those that they were computed from.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

import livealign
from livealign.alignment.towers import item_vectors
from livealign.config import DatasetConfig, SegmentConfig
from livealign.dataset.content import content_names, content_of
from livealign.dataset.corpus import FRAMES, Corpus, load_corpus
from livealign.days import EPOCH, PART
from livealign.errors import BundleError, EvaluationError
from livealign.evaluation.frame import EvaluationFrame
from livealign.files import file_sha256, replace_json, replaced_directory
from livealign.home import Home
from livealign.llm.backbone import choose_device
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.texts import CONTEXT_DAYS, texts_of
from livealign.metrics import user_auc
from livealign.ranking.network import ItemTable
from livealign.release.bundle import Bundle
from livealign.release.models import ReleaseModels, load_encoder
from livealign.release.promotion import ReleaseMetrics
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.frames import embed_frames


def champion_scores(
    champion: Bundle, corpus: Corpus, home: Home, dataset: DatasetConfig, kept_in: Path | None = None
) -> NDArray[np.float32]:
    """Probabilities [n, tasks] that the champion gives the corpus' held-out impressions.

    The champion's own vocabularies, encoder, towers, codebook and ranker compute them.

    Args:
        corpus: of the day. Its held-out impressions are scored; its days are read again with the champion's vocabularies.
        dataset: the settings that the corpus was read with.
        kept_in: folder of the stored scores; the day's own by default.

    Raises:
        LiveAlignError: the champion cannot score the day; the message says why.
    """
    theirs = replace(dataset, half_life_seconds=_half_life(champion))
    folder, origin = kept_in or DayArtifacts.of(home, corpus.day).champion, _origin(champion, corpus, home, theirs)
    kept = _kept(folder, champion, origin, len(corpus.test))
    if kept is not None:
        return kept
    scores = _scores(champion, corpus.day, home, theirs)
    with replaced_directory(folder) as fresh:
        np.save(fresh / f"{champion.release_id}.npy", scores, allow_pickle=False)
        replace_json(fresh / f"{champion.release_id}.json", origin)
    return scores


def release_metrics(scores: ArrayLike, frame: EvaluationFrame, day: date) -> ReleaseMetrics:
    """Measurements for `promotion.decide` from one release's click scores [n] of held-out days.

    Args:
        day: the last of the days, YYYY-MM-DD in the result.

    Raises:
        EvaluationError: there is another number of scores than of impressions.
    """
    values, label = np.asarray(scores, np.float64), np.asarray(frame.labels["click"], np.float64)
    if values.shape != (len(frame),):
        raise EvaluationError(f"the release has {values.shape} scores for {len(frame)} impressions; score it on {day} again")
    finite = bool(np.isfinite(values).all())
    values = values if finite else np.zeros(len(frame))  # users and their counts are still known
    slices = {
        f"{name}={value}": user_auc(values[rows], label[rows], frame.user[rows], frame.day[rows])
        for name, column in frame.slices.items()
        for value in np.unique(column)
        for rows in [column == value]
    }
    days = [(EPOCH + timedelta(days=number)).isoformat() for number in np.unique(frame.day).tolist()]
    earlier = tuple(name for name in days if name != day.isoformat())
    return ReleaseMetrics(day.isoformat(), user_auc(values, label, frame.user, frame.day), slices, finite, earlier)


def _half_life(champion: Bundle) -> float:
    """The half-life of a room's content, in seconds, with which the champion was trained."""
    try:
        return float(champion.manifest["config"]["dataset"]["half_life_seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{champion.path} does not say how its content is averaged ({error!r}); build it again") from error


def _segments(champion: Bundle) -> SegmentConfig:
    """The champion's settings for the texts of windows."""
    try:
        return SegmentConfig(**champion.manifest["config"]["segments"])
    except (KeyError, TypeError) as error:
        raise BundleError(f"{champion.path} does not say how texts are made ({error!r}); build it again") from error


def _kept(folder: Path, champion: Bundle, origin: dict[str, Any], impressions: int) -> NDArray[np.float32] | None:
    """The stored scores of the same origin; None if they are missing or unreadable."""
    try:
        if json.loads((folder / f"{champion.release_id}.json").read_bytes()) != origin:
            return None
        scores = np.load(folder / f"{champion.release_id}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not computed yet, or damaged: both are mended by computing them
        return None
    return scores if scores.shape[:1] == (impressions,) else None


def _origin(champion: Bundle, corpus: Corpus, home: Home, dataset: DatasetConfig) -> dict[str, Any]:
    """The inputs of the scores as JSON: release, impressions, marts, settings, code, device."""
    package = Path(livealign.__file__).parent
    return {
        "release": champion.release_id,
        "impressions": hashlib.sha256(np.ascontiguousarray(corpus.test.impression_id).tobytes()).hexdigest(),
        "marts": _digest(home.marts, _mart_files(home.marts, corpus)),
        "dataset": asdict(dataset),
        "code": _digest(package, package.rglob("*.py")),
        "torch": torch.__version__,
        "device": str(choose_device()),
    }


def _mart_files(marts: Path, corpus: Corpus) -> Iterator[Path]:
    """The files of all marts for the corpus' days, and for the days before them that give texts their context."""
    days = {*corpus.train_days, corpus.day, corpus.train_days[0] - timedelta(days=CONTEXT_DAYS)}
    for day in sorted(days):
        yield from marts.glob(f"*/dt={day}/{PART}")


def _digest(root: Path, files: Iterator[Path]) -> str:
    """SHA-256 of the names below `root` and the contents of the files."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(root)} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _scores(champion: Bundle, day: date, home: Home, dataset: DatasetConfig) -> NDArray[np.float32]:
    """Probabilities [n, tasks] of the day's impressions, with ids numbered by the champion's vocabularies."""
    models = ReleaseModels.load(champion, choose_device())
    corpus = load_corpus(home.marts, day, dataset, models.vocabulary)
    vectors = item_vectors(models.alignment, corpus, _content(champion, corpus, home))
    items = ItemTable(vectors, models.codebook.encode(vectors)).for_ranker(models.ranker.sizes)
    return models.ranker.predict(corpus.test, items)


def _content(champion: Bundle, corpus: Corpus, home: Home) -> NDArray[np.float32]:
    """Content [segments, d] of all windows of the rooms in the held-out impressions and their histories.

    For other rooms the text's part is zero. Vectors that the champion's LLM made earlier are in the cache.
    """
    encoder = load_encoder(champion, home.models)
    test = corpus.test
    named = np.unique(np.concatenate([test.segment, test.history_segment.reshape(-1)]))
    rooms = np.unique(corpus.segment_room_id[named[named > 0]])
    rows = np.flatnonzero(np.isin(corpus.segment_room_id, rooms))
    segment_ids = corpus.segment_ids[rows[rows > 0]]
    segments = _segments(champion)
    texts = texts_of(home.marts, segment_ids, [*corpus.train_days, corpus.day], segments)
    room_ids = corpus.segment_room_id[rows[rows > 0]]
    cache, frames, pictures = EmbeddingCache(home.embedding_cache), None, None
    if encoder.images is not None:
        days = [*corpus.train_days, corpus.day]
        frames = embed_frames(home.marts, home.landing, days, segment_ids, encoder.images, home.embedding_cache)
        pictures = frames.beside(segment_ids) if encoder.llm_reads_pictures else None
    vectors = encoder.encode(texts, cache, room_ids, pictures)
    names = content_names(encoder.sources)
    texts_of_sources = [name for name in names if name != FRAMES]
    parts = np.split(vectors, np.cumsum(encoder.widths)[: len(texts_of_sources)], axis=1)
    for name, part in zip(texts_of_sources, parts, strict=False):  # what is left is empty
        corpus = corpus.with_content(name, segment_ids, part)
    if frames is not None and "frames" in encoder.sources:
        corpus = corpus.with_content(FRAMES, *frames)
    return content_of(corpus, *names).vectors

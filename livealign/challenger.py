"""The challenger of a day, stage by stage: towers, codes, ranker, scores. Each stage reads and writes `artifacts/<day>/`.

corpus = day_corpus(home, day, dataset)
towers = align(corpus, profile, folder, before)  # alignment.safetensors, vectors.npy
codes = encode(corpus, profile, folder, texts, before)  # codebook.npz, codes.npy, code_names.json
retrieve(corpus, marts, folder)                  # metrics.json
rank(corpus, profile, folder)                    # ranker.safetensors, vocabulary/, scores.npy
compare(corpus, profile, folder)                 # <variant>.npy
"""

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.alignment import AlignmentReport, train_alignment
from livealign.alignment_model import Alignment, item_vectors
from livealign.artifacts import DayArtifacts
from livealign.backbone import choose_device
from livealign.bundle import Bundle
from livealign.code_health import CodebookHealth, code_churn, codebook_health, refresh_churn
from livealign.code_names import name_codes
from livealign.coded_segments import CODED_SEGMENTS, CodedSegments, segments_coded_by
from livealign.config import CodesConfig, DatasetConfig, Profile
from livealign.content import with_embeddings
from livealign.content_sources import joined
from livealign.dataset import TUNED, Corpus, load_corpus
from livealign.dataset_examples import TASKS, Examples
from livealign.days import PART
from livealign.errors import LiveAlignError
from livealign.files import read_json, replace_json, replaced_directory
from livealign.former_towers import FormerTowers
from livealign.home import Home
from livealign.last_read import LastRead
from livealign.marts import built_days, read_mart
from livealign.ranking import Ranker, train_ranker
from livealign.release_files import ALIGNMENT, CODE_NAMES, CODEBOOK, HELD_OUT_SCORES, RANKER, VOCABULARY
from livealign.release_models import ReleaseModels
from livealign.release_parts import write_vocabulary
from livealign.retrieval_metrics import RetrievalMetrics, retrieval_metrics
from livealign.retune import went_on_from
from livealign.semantic_codes import Codebook, fit_codebook
from livealign.variants import codebook_rows, told_to_ranker, train_variant

VECTORS, TOWERS, CODES, SCORES, HEALTH = "vectors.npy", "towers.json", "codes.npy", "scores.npy", "health.json"


@dataclass(frozen=True)
class Towers:
    """What the alignment stage made."""

    report: AlignmentReport
    items: int


class RetrainChurn(NamedTuple):
    """What the retrain changed of what the release before had coded too."""

    segments: float  # share of segments whose first code is another one
    authors: float  # share of authors whose commonest first code is another one
    known: int  # segments that both coded


@dataclass(frozen=True)
class Codes:
    """What the codes stage made."""

    version: str
    health: CodebookHealth
    churn_per_refresh: float  # share of windows whose first code differs from the window before
    churn_per_retrain: RetrainChurn | None  # None without a release before
    names: dict[str, str]  # by code path
    counts: list[NDArray[np.int64]]  # [codes] of each level


_corpus: LastRead[Corpus] = LastRead()


def day_corpus(home: Home, day: date, dataset: DatasetConfig) -> Corpus:
    """The corpus of a retrain for `day`, with the vectors that were embedded for it. It is read once for all stages."""
    embeddings = DayArtifacts.of(home, day).embeddings
    files = [*home.marts.glob(f"*/dt=*/{PART}"), *embeddings.glob("*.npy")]
    return _corpus(
        (home.marts, day, dataset), files, lambda: with_embeddings(load_corpus(home.marts, day, dataset), embeddings)
    )


def align(corpus: Corpus, profile: Profile, artifacts: DayArtifacts, before: Bundle | None = None) -> Towers:
    """Train the gated two towers on the tuned embeddings and write them with every item's aligned vector.

    Args:
        before: the release of the day before, whose towers these go on from where the day's adapter went on from its.
    """
    device, (content, sources) = choose_device(), joined(corpus, TUNED)
    going_on = went_on_from(artifacts.adapter, before)
    former = None if going_on is None else _towers_of(going_on)
    alignment, report = train_alignment(corpus, content, profile.alignment, device=device, sources=sources, former=former)
    vectors = item_vectors(alignment, corpus, content)
    with replaced_directory(artifacts.alignment) as folder:
        alignment.save(folder / ALIGNMENT)
        np.save(folder / VECTORS, vectors, allow_pickle=False)
        replace_json(folder / TOWERS, {"went_on_from": going_on.release_id if going_on and report.went_on else None})
    return Towers(report, len(vectors))


def encode(corpus: Corpus, profile: Profile, artifacts: DayArtifacts, texts: list[str], before: Bundle | None = None) -> Codes:
    """Fit the codebook to the training segments' aligned vectors; name its codes, measure its health, and write it all.

    Args:
        texts: of the corpus' segments without row 0, for the names of the codes.
        before: the release before this day, whose codes the new ones keep the meaning of: its codebook itself, where the
            towers went on from its. None for the first release.
    """
    vectors = read_vectors(artifacts)
    rows = codebook_rows(corpus, corpus.content[TUNED])
    coded = None if before is None else segments_coded_by(before)
    known = None if coded is None else coded.codes_of(corpus.segment_ids)
    codebook = _kept_codebook(artifacts, before, profile.codes)
    if codebook is None:
        codebook = fit_codebook(vectors[rows], profile.codes, None if known is None else known[rows])
    codes = codebook.encode(vectors)
    segments = slice(1, len(corpus.segment_ids))
    names = name_codes(codes[segments], texts)
    health = codebook_health(codebook, vectors[segments])
    churn = None if known is None or known.shape[1] != codebook.levels else retrain_churn(corpus, known, codes)
    with replaced_directory(artifacts.codes) as folder:
        codebook.save(folder / CODEBOOK)
        np.save(folder / CODES, codes, allow_pickle=False)
        (folder / CODE_NAMES).write_text(json.dumps(names, ensure_ascii=False) + "\n")
        CodedSegments.of(corpus.segment_ids[1:], corpus.segment_started_at[1:], codes[segments]).save(folder / CODED_SEGMENTS)
        replace_json(
            folder / HEALTH,
            {
                **health._asdict(),
                "levels": [level._asdict() for level in health.levels],
                "churn_per_retrain": None if churn is None else churn._asdict(),
            },
        )
    return Codes(
        version=codebook.version,
        health=health,
        churn_per_refresh=refresh_churn(codes[segments], corpus.segment_room_id[1:], corpus.segment_started_at[1:]),
        churn_per_retrain=churn,
        names=names,
        counts=[np.bincount(codes[segments, level], minlength=codebook.codes_per_level) for level in range(codebook.levels)],
    )


def _towers_of(release: Bundle) -> FormerTowers:
    models = ReleaseModels(release)
    return FormerTowers(models.alignment, models.vocabulary.users, models.vocabulary.authors)


def _kept_codebook(artifacts: DayArtifacts, before: Bundle | None, config: CodesConfig) -> Codebook | None:
    """The codebook of the release whose towers were gone on from: in the same space it means what it meant."""
    went_on = read_json(artifacts.alignment / TOWERS)["went_on_from"]
    if before is None or went_on != before.release_id:
        return None
    codebook = ReleaseModels(before).codebook
    same_sizes = (codebook.levels, codebook.codes_per_level) == (config.levels, config.codes_per_level)
    return codebook if same_sizes else None


def retrain_churn(corpus: Corpus, known: NDArray[np.int32], codes: NDArray[np.int32]) -> RetrainChurn:
    """Compare the codes of the release before [segments, levels] (−1 where it had none) with the new ones [items, levels]."""
    both = np.flatnonzero(known[:, 0] >= 0)
    before, after = known[both], codes[both]
    changed = []
    for author in np.unique(corpus.segment_author_id[both]):
        mine = corpus.segment_author_id[both] == author
        changed.append(np.bincount(before[mine, 0]).argmax() != np.bincount(after[mine, 0]).argmax())
    return RetrainChurn(code_churn(before, after), float(np.mean(changed)) if changed else 0.0, len(both))


def rank(corpus: Corpus, profile: Profile, artifacts: DayArtifacts) -> Ranker:
    """Train the ranker of the release and write it with its vocabularies and its scores of the held-out day [n, tasks]."""
    codebook = Codebook.load(artifacts.codes / CODEBOOK)
    alignment = Alignment.load(artifacts.alignment / ALIGNMENT)
    items = told_to_ranker(alignment, read_vectors(artifacts), _load(artifacts.codes / CODES))
    ranker = train_ranker(corpus, items, profile.ranker, codebook.version, codebook.codes_per_level, choose_device())
    scores = ranker.predict(corpus.test, items)
    with replaced_directory(artifacts.ranker) as folder:
        ranker.save(folder / RANKER)
        write_vocabulary(folder / VOCABULARY, corpus)
        np.save(folder / SCORES, scores, allow_pickle=False)
        # Goes with the release, so that later days can be held against the last one that it had not learned from.
        np.savez(folder / HELD_OUT_SCORES, impression_id=corpus.test.impression_id, click=scores[:, TASKS.index("click")])
    return ranker


def retrieve(corpus: Corpus, marts: Path, artifacts: DayArtifacts) -> RetrievalMetrics:
    """Measure retrieval by the aligned vectors on the held-out day and write the numbers."""
    alignment = Alignment.load(artifacts.alignment / ALIGNMENT, choose_device())
    nearby = [day for day in built_days(marts, "rooms") if corpus.day - timedelta(days=1) <= day <= corpus.day]
    vectors = read_vectors(artifacts)

    def users(clicks: Examples) -> NDArray[np.float32]:
        return alignment.example_user_vectors(clicks, vectors)

    metrics = retrieval_metrics(corpus, users, vectors, read_mart(marts, "rooms", nearby))
    replace_json(artifacts.retriever / "metrics.json", metrics.to_dict())
    return metrics


def compare(corpus: Corpus, profile: Profile, artifacts: DayArtifacts) -> tuple[str, ...]:
    """Train the variants that the method is held against and write their scores of the held-out day [n, tasks] each."""
    with replaced_directory(artifacts.comparison) as folder:
        for name in profile.evaluation.comparison:
            scores = train_variant(name, corpus, profile, device=choose_device()).score(corpus.test)
            np.save(folder / f"{name}.npy", scores, allow_pickle=False)
    return profile.evaluation.comparison


def read_comparison(artifacts: DayArtifacts) -> dict[str, NDArray[np.float32]]:
    """Scores [n, tasks] by variant that `compare` wrote."""
    return {path.stem: _load(path) for path in sorted(artifacts.comparison.glob("[!.]*.npy"))}


def read_vectors(artifacts: DayArtifacts) -> NDArray[np.float32]:
    """Aligned vectors [items, dim] that `align` wrote."""
    return _load(artifacts.alignment / VECTORS)


def read_codes(artifacts: DayArtifacts) -> NDArray[np.int32]:
    """Codes [items, levels] that `encode` wrote."""
    return _load(artifacts.codes / CODES)


def read_scores(artifacts: DayArtifacts) -> NDArray[np.float32]:
    """Probabilities [n, tasks] of the held-out impressions that `rank` wrote."""
    return _load(artifacts.ranker / SCORES)


def _load(path: Path) -> NDArray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LiveAlignError(f"{path} cannot be read ({error}); run the stage that writes it again: make retrain") from error

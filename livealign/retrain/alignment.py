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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.alignment.towers import item_vectors
from livealign.alignment.training import AlignmentReport, train_alignment
from livealign.alignment.warm_start import WarmStart
from livealign.codes.codebook import Codebook, codebook_rows, fit_codebook
from livealign.codes.health import CodebookHealth, code_churn, codebook_health, refresh_churn
from livealign.codes.names import name_codes
from livealign.codes.segment_codes import CodedSegments
from livealign.config import CodesConfig, Profile
from livealign.dataset.content import content_of
from livealign.dataset.corpus import TUNED, Corpus
from livealign.files import read_json, replace_json, replaced_directory
from livealign.llm.backbone import choose_device
from livealign.release.bundle import ALIGNMENT, CODE_NAMES, CODEBOOK, CODED_SEGMENTS, Bundle
from livealign.release.models import ReleaseModels
from livealign.retrain.artifacts import CODES, HEALTH, TOWERS, VECTORS, DayArtifacts, read_vectors
from livealign.retrain.tuning_policy import continued_from


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


def align(corpus: Corpus, profile: Profile, artifacts: DayArtifacts, before: Bundle | None = None) -> Towers:
    """Train the gated two towers on the tuned embeddings and write them with every item's aligned vector.

    Args:
        before: the release of the day before, whose towers these go on from where the day's adapter went on from its.
    """
    device, (content, sources) = choose_device(), content_of(corpus, TUNED)
    going_on = continued_from(artifacts.adapter, before)
    warm_start = None if going_on is None else _towers_of(going_on)
    alignment, report = train_alignment(
        corpus, content, profile.alignment, device=device, sources=sources, warm_start=warm_start
    )
    vectors = item_vectors(alignment, corpus, content)
    with replaced_directory(artifacts.alignment) as folder:
        alignment.save(folder / ALIGNMENT)
        np.save(folder / VECTORS, vectors, allow_pickle=False)
        replace_json(folder / TOWERS, {"went_on_from": going_on.release_id if going_on and report.warm_started else None})
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


def _towers_of(release: Bundle) -> WarmStart:
    models = ReleaseModels(release)
    return WarmStart(models.alignment, models.vocabulary.users, models.vocabulary.authors)


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


def segments_coded_by(bundle: Bundle) -> CodedSegments | None:
    """What this release coded; None if it is of a version that did not write it down."""
    return CodedSegments.load(bundle.file(CODED_SEGMENTS)) if CODED_SEGMENTS in bundle.manifest["files"] else None

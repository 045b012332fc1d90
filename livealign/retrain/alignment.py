"""Assets aligned_vectors and semantic_codes.

Both read and write `artifacts/<day>/`; the next module in the order of the graph is `recommenders`.

corpus = day_corpus(home, day, dataset)
towers = align(corpus, profile, folder, before)         # alignment.safetensors, vectors.npy
codes = encode(corpus, profile, folder, texts, before)  # codebook.npz, codes.npy, code_names.json
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.alignment.towers import item_vectors
from livealign.alignment.training import AlignmentReport, train_alignment
from livealign.alignment.warm_start import WarmStart
from livealign.codes.codebook import Codebook, codebook_rows, fit_codebook
from livealign.codes.health import CodebookHealth, code_churn, codebook_health, refresh_churn
from livealign.codes.names import SegmentsOf, name_codes
from livealign.codes.segment_codes import CodedSegments
from livealign.config import CodesConfig
from livealign.dataset.content import content_names, content_of, own_content
from livealign.dataset.corpus import Corpus
from livealign.files import read_json, replace_json, replaced_directory
from livealign.llm.backbone import choose_device
from livealign.profiles import Profile
from livealign.release.bundle import ALIGNMENT, CODE_NAMES, CODEBOOK, CODED_SEGMENTS, Bundle
from livealign.release.models import ReleaseModels
from livealign.retrain.artifacts import CODES, HEALTH, TOWERS, VECTORS, DayArtifacts, read_vectors
from livealign.retrain.tuning_policy import continued_from


class CheckedSource(NamedTuple):
    """The gain of one source on unseen rooms (`livealign.alignment.content_check`)."""

    source: str
    beside: tuple[str, ...]  # the sources that it was added to; none: the author ID alone
    gain: float  # GAUC
    error: float  # standard error, over users
    used: bool
    authors_not_trusted: int


@dataclass(frozen=True)
class Towers:
    """Result of the alignment stage."""

    report: AlignmentReport
    checks: tuple[CheckedSource, ...]  # empty where no content was checked
    items: int


class RetrainChurn(NamedTuple):
    """Share of segments and authors whose first code the retrain changed."""

    segments: float  # share of segments whose first code changed
    authors: float  # share of authors whose commonest first code changed
    known: int  # segments that both releases coded


@dataclass(frozen=True)
class Codes:
    """Result of the codes stage."""

    version: str
    health: CodebookHealth
    churn_per_refresh: float  # share of windows whose first code differs from the window before
    churn_per_retrain: RetrainChurn | None  # None without a previous release
    names: dict[str, str]  # by code path
    counts: list[NDArray[np.int64]]  # [codes] of each level


def align(corpus: Corpus, profile: Profile, artifacts: DayArtifacts, before: Bundle | None = None) -> Towers:
    """Train the two towers; write them with every item's aligned vector.

    Args:
        before: the previous release; its towers are the warm start if the day's adapter continued from its adapter.
    """
    device, (content, sources) = choose_device(), content_of(corpus, *content_names(profile.alignment.sources))
    going_on = continued_from(artifacts.adapter, before)
    warm_start = None if going_on is None else _towers_of(going_on)
    alignment, report = train_alignment(
        corpus, content, profile.alignment, device=device, sources=sources, warm_start=warm_start
    )
    vectors, checks = item_vectors(alignment, corpus, content), _checked(report, alignment.source_names)
    with replaced_directory(artifacts.alignment) as folder:
        alignment.save(folder / ALIGNMENT)
        np.save(folder / VECTORS, vectors, allow_pickle=False)
        replace_json(
            folder / TOWERS,
            {
                "went_on_from": going_on.release_id if going_on and report.warm_started else None,
                "checks": [check._asdict() for check in checks],
            },
            version=1,
        )
    return Towers(report, checks, len(vectors))


def read_checks(artifacts: DayArtifacts) -> tuple[CheckedSource, ...]:
    """The checks that `align` wrote; none on a day with a warm start."""
    checks = read_json(artifacts.alignment / TOWERS).get("checks", [])
    return tuple(CheckedSource(**{**check, "beside": tuple(check["beside"])}) for check in checks)


def _checked(report: AlignmentReport, names: Sequence[str]) -> tuple[CheckedSource, ...]:
    if report.check is None:
        return ()
    return tuple(
        CheckedSource(
            name,
            tuple(names[place] for place in check.beside),
            check.gain,
            check.error,
            check.earned,
            int((check.trust[1:] < 0.5).sum()),
        )
        for name, check in zip(names, report.check.sources, strict=True)
    )


def encode(corpus: Corpus, profile: Profile, artifacts: DayArtifacts, texts: list[str], before: Bundle | None = None) -> Codes:
    """Fit the codebook, name its codes, measure its health, and write all of it.

    The codebook is fitted to the training segments' aligned vectors.

    Args:
        texts: of the corpus' segments without row 0, for the names of the codes.
        before: the previous release; the new codes keep the meaning of its codes. Where the towers warm-started from
            its towers, its codebook itself is kept. None for the first release.
    """
    vectors = read_vectors(artifacts)
    rows = codebook_rows(corpus, own_content(corpus, profile.alignment.sources))
    coded = None if before is None else segments_coded_by(before)
    known = None if coded is None else coded.codes_of(corpus.segment_ids)
    codebook = _kept_codebook(artifacts, before, profile.codes)
    if codebook is None:
        codebook = fit_codebook(vectors[rows], profile.codes, None if known is None else known[rows])
    codes = codebook.encode(vectors)
    segments = slice(1, len(corpus.segment_ids))
    origin = SegmentsOf(corpus.segment_room_id[1:], corpus.segment_author_id[1:], corpus.segment_started_at[1:])
    names = name_codes(codes[segments], texts, origin)
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
            version=1,
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
    """The previous release's codebook if the towers warm-started from its: both share one space."""
    went_on = read_json(artifacts.alignment / TOWERS)["went_on_from"]
    if before is None or went_on != before.release_id:
        return None
    codebook = ReleaseModels(before).codebook
    same_sizes = (codebook.levels, codebook.codes_per_level) == (config.levels, config.codes_per_level)
    return codebook if same_sizes else None


def retrain_churn(corpus: Corpus, known: NDArray[np.int32], codes: NDArray[np.int32]) -> RetrainChurn:
    """Compare the previous release's codes of the segments with the new ones.

    Args:
        known: the previous release's codes [segments, levels], −1 where it had none.
        codes: the new ones [items, levels].
    """
    both = np.flatnonzero(known[:, 0] >= 0)
    before, after = known[both], codes[both]
    changed = []
    for author in np.unique(corpus.segment_author_id[both]):
        mine = corpus.segment_author_id[both] == author
        changed.append(np.bincount(before[mine, 0]).argmax() != np.bincount(after[mine, 0]).argmax())
    return RetrainChurn(code_churn(before, after), float(np.mean(changed)) if changed else 0.0, len(both))


def segments_coded_by(bundle: Bundle) -> CodedSegments | None:
    """The segments that this release coded; None if its version did not record them."""
    return CodedSegments.load(bundle.file(CODED_SEGMENTS)) if CODED_SEGMENTS in bundle.manifest["files"] else None

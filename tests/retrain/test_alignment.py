"""The towers and codes of a day: what is written, and what continues from an earlier release."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from livealign.alignment.towers import Alignment, item_vectors
from livealign.codes.codebook import Codebook
from livealign.codes.segment_codes import CodedSegments
from livealign.dataset.content import content_of
from livealign.dataset.corpus import LEXICAL, TUNED, Corpus, data_window, load_corpus
from livealign.files import read_json
from livealign.profiles import load_profile, with_seed
from livealign.release.bundle import ALIGNMENT, CODEBOOK, CODED_SEGMENTS, VOCABULARY, Bundle, open_bundle, write_bundle
from livealign.release.contents import write_vocabulary
from livealign.retrain.alignment import Codes, Towers, align, encode
from livealign.retrain.artifacts import CODES, HEALTH, TOWERS, VECTORS, DayArtifacts, read_codes, read_vectors
from livealign.retrain.tuning_policy import TuningPlan, write_tuning
from tests.planted.marts import Planted
from tests.planted.release import plant_platform
from tests.release.test_bundle import FIELDS

PROFILE = load_profile("tiny")


@dataclass(frozen=True)
class Platform:
    """Two days that can be retrained for, and the release of the first."""

    planted: Planted
    first: Corpus
    second: Corpus
    before: Bundle


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    folder = tmp_path_factory.mktemp("platform")
    planted = plant_platform(folder / "marts", users=60, requests_per_day=120)
    first, second = (
        load_corpus(planted.marts, day, PROFILE.dataset)
        .with_content(TUNED, planted.segment_ids, planted.vectors)
        .with_content(LEXICAL, planted.segment_ids, planted.vectors[:, ::2])
        for day in planted.days[1:]
    )
    artifacts = DayArtifacts(folder / "first")
    retrained(first, artifacts)
    write_vocabulary(folder / VOCABULARY, first)
    parts = {
        ALIGNMENT: artifacts.alignment / ALIGNMENT,
        CODEBOOK: artifacts.codes / CODEBOOK,
        CODED_SEGMENTS: artifacts.codes / CODED_SEGMENTS,
        VOCABULARY: folder / VOCABULARY,
    }
    release = write_bundle(folder / "releases", parts, {**FIELDS, "data_window": data_window(first)})
    return Platform(planted, first, second, open_bundle(release))


def retrained(corpus: Corpus, artifacts: DayArtifacts, before: Bundle | None = None, profile=PROFILE) -> tuple[Towers, Codes]:
    towers = align(corpus, profile, artifacts, before)
    return towers, encode(corpus, profile, artifacts, ["a text"] * (len(corpus.segment_ids) - 1), before)


def tuned(artifacts: DayArtifacts, day, continued_from: str | None) -> DayArtifacts:
    """The artifacts with the record of a tuning: full, or continued from a release."""
    write_tuning(TuningPlan(continued_from is None, "", 0, None, day, continued_from), artifacts.adapter)
    return artifacts


def first_codes(corpus: Corpus, codes: NDArray) -> dict[int, int]:
    return dict(zip(corpus.segment_ids[1:].tolist(), codes[1 : len(corpus.segment_ids), 0].tolist(), strict=True))


def test_the_towers_and_vectors_that_are_written_are_those_that_the_codes_are_made_of(
    platform: Platform, tmp_path: Path
) -> None:
    corpus, artifacts = platform.first, DayArtifacts(tmp_path)
    towers, codes = retrained(corpus, artifacts)
    vectors = read_vectors(artifacts)
    assert vectors.shape == (towers.items, PROFILE.alignment.dim) == (corpus.n_items, 16)
    assert np.linalg.norm(vectors[1:], axis=1) == pytest.approx(1.0, abs=1e-5)
    loaded = Alignment.load(artifacts.alignment / ALIGNMENT)
    assert np.array_equal(item_vectors(loaded, corpus, content_of(corpus, TUNED, LEXICAL).vectors), vectors)
    assert read_json(artifacts.alignment / TOWERS) == {"went_on_from": None, "checks": []}

    codebook, written = Codebook.load(artifacts.codes / CODEBOOK), read_codes(artifacts)
    assert codebook.version == codes.version
    assert np.array_equal(codebook.encode(vectors), written)
    segments = slice(1, len(corpus.segment_ids))
    assert [one.tolist() for one in codes.counts] == [
        np.bincount(written[segments, one], minlength=8).tolist() for one in (0, 1)
    ]
    kept = CodedSegments.load(artifacts.codes / CODED_SEGMENTS)
    assert np.array_equal(kept.codes_of(corpus.segment_ids[segments]), written[segments])
    assert codes.churn_per_retrain is None
    assert read_json(artifacts.codes / HEALTH)["churn_per_retrain"] is None


def test_codes_are_those_of_the_vectors_in_the_folder(platform: Platform, tmp_path: Path) -> None:
    artifacts = DayArtifacts(tmp_path)
    _, codes = retrained(platform.first, artifacts)
    np.save(artifacts.alignment / VECTORS, np.roll(read_vectors(artifacts), 1, axis=1), allow_pickle=False)
    again = encode(platform.first, PROFILE, artifacts, ["a text"] * (len(platform.first.segment_ids) - 1))
    assert again.version != codes.version


def test_the_same_corpus_gives_the_same_bytes(platform: Platform, tmp_path: Path) -> None:
    one, two = DayArtifacts(tmp_path / "one"), DayArtifacts(tmp_path / "two")
    for artifacts in (one, two):
        retrained(platform.first, artifacts)
    names = [*(f"alignment/{name}" for name in (ALIGNMENT, VECTORS, TOWERS)), *(f"codes/{name}" for name in (CODES, HEALTH))]
    for name in names:
        assert (one.root / name).read_bytes() == (two.root / name).read_bytes(), name
    assert Codebook.load(one.codes / CODEBOOK).version == Codebook.load(two.codes / CODEBOOK).version


def test_a_day_that_continues_from_a_release_keeps_its_codebook(platform: Platform, tmp_path: Path) -> None:
    before, corpus = platform.before, platform.second
    artifacts = tuned(DayArtifacts(tmp_path), corpus.day, before.release_id)
    towers, codes = retrained(corpus, artifacts, before)
    assert towers.report.warm_started
    assert len(towers.report.losses) == PROFILE.alignment.warm_epochs
    assert read_json(artifacts.alignment / TOWERS) == {"went_on_from": before.release_id, "checks": []}
    assert codes.version == Codebook.load(before.file(CODEBOOK)).version

    known = CodedSegments.load(before.file(CODED_SEGMENTS))
    earlier = dict(zip(known.segment_ids.tolist(), known.codes[:, 0].tolist(), strict=True))
    now = first_codes(corpus, read_codes(artifacts))
    both = earlier.keys() & now.keys()
    assert codes.churn_per_retrain is not None
    assert codes.churn_per_retrain.known == len(both) > 500
    changed = sum(earlier[one] != now[one] for one in both) / len(both)
    assert codes.churn_per_retrain.segments == pytest.approx(changed)


def test_other_sizes_of_the_codes_need_another_codebook(platform: Platform, tmp_path: Path) -> None:
    before, corpus = platform.before, platform.second
    artifacts = tuned(DayArtifacts(tmp_path), corpus.day, before.release_id)
    profile = replace(PROFILE, codes=replace(PROFILE.codes, levels=1))
    towers, codes = retrained(corpus, artifacts, before, profile)
    assert towers.report.warm_started
    assert Codebook.load(artifacts.codes / CODEBOOK).centroids.shape == (1, 8, 16)
    assert codes.churn_per_retrain is None, "paths of two lengths cannot be compared"


def test_a_day_after_a_full_tune_refits_its_codebook_and_is_numbered_alike(platform: Platform, tmp_path: Path) -> None:
    before, corpus = platform.before, platform.second
    artifacts = tuned(DayArtifacts(tmp_path), corpus.day, None)
    towers, codes = retrained(corpus, artifacts, before, with_seed(PROFILE, 5))
    assert not towers.report.warm_started
    assert len(towers.report.losses) == PROFILE.alignment.epochs
    assert read_json(artifacts.alignment / TOWERS) == {"went_on_from": None, "checks": []}
    assert codes.version != Codebook.load(before.file(CODEBOOK)).version

    known = CodedSegments.load(before.file(CODED_SEGMENTS)).codes_of(corpus.segment_ids[1:])[:, 0]
    coded = known >= 0

    def agreement() -> float:
        return float((read_codes(artifacts)[1 : len(corpus.segment_ids), 0] == known)[coded].mean())

    alike = agreement()
    encode(corpus, with_seed(PROFILE, 5), artifacts, ["a text"] * (len(corpus.segment_ids) - 1))
    assert alike > 1.5 * agreement(), "without the earlier codes the numbers are those of chance"


def test_content_that_is_switched_off_leaves_codes_of_the_id(platform: Platform, tmp_path: Path) -> None:
    """Each author airs one topic and content is noise, so its check does not let it through."""
    planted = plant_platform(tmp_path / "marts", users=60, requests_per_day=120, topics_of_author=1)
    corpus = load_corpus(planted.marts, planted.days[-1], PROFILE.dataset)
    noise = np.random.default_rng(0).normal(size=(len(corpus.segment_ids), 24)).astype(np.float32)
    noisy, artifacts = replace(corpus, content={TUNED: noise}), DayArtifacts(tmp_path / "artifacts")
    checked = replace(PROFILE.alignment, check=True, sources=("llm",))
    towers, _ = retrained(noisy, artifacts, profile=replace(PROFILE, alignment=checked))
    assert towers.report.gate_mode == "id"
    codes = read_codes(artifacts)[: len(corpus.segment_ids)]
    paths = {
        author: np.unique(codes[1:][corpus.segment_author[1:] == author], axis=0) for author in set(corpus.segment_author[1:])
    }
    assert [len(path) for path in paths.values()] == [1] * len(paths)
    assert len(np.unique(np.concatenate(list(paths.values())), axis=0)) > 3, "authors differ"

"""Two sources of content: planted worlds in which words alone tell, meaning alone, both, or neither."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from livealign.alignment.towers import Alignment, item_vectors
from livealign.alignment.training import AlignmentReport, train_alignment
from livealign.alignment.warm_start import WarmStart
from livealign.config import AlignmentConfig, DatasetConfig
from livealign.dataset.content import content_names, content_of, own_content
from livealign.dataset.corpus import LEXICAL, TUNED, Corpus, load_corpus
from livealign.errors import BundleError, LiveAlignError
from livealign.metrics import gauc, user_auc
from tests.planted.marts import Planted, plant_marts

CONFIG = AlignmentConfig(dim=16, hidden=32, epochs=8, batch_size=256, content_rank=16)
SIZES = {"users": 100, "authors": 16, "topics": 4, "days": 4, "requests_per_day": 350, "noise": 0.1}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant_marts(tmp_path_factory.mktemp("marts"), taste_scale=1.8, base_logit=-1.2, topics_of_author=4, **SIZES)


@pytest.fixture(scope="module")
def corpus(planted: Planted) -> Corpus:
    corpus = load_corpus(planted.marts, planted.days[-1], DatasetConfig(history_length=10, half_life_seconds=0))
    return corpus.with_content("telling", planted.segment_ids, planted.vectors)


def noise_like(content: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=content.shape).astype(np.float32)
    noise[0] = 0
    return noise


def with_sources(corpus: Corpus, llm: np.ndarray, lexical: np.ndarray) -> Corpus:
    return replace(corpus, content={TUNED: llm, LEXICAL: lexical})


def trained(corpus: Corpus, *sources: str, config: AlignmentConfig = CONFIG) -> tuple[Alignment, AlignmentReport, np.ndarray]:
    """Towers on these sources, their report, and the vectors of all items."""
    content, widths = content_of(corpus, *content_names(sources))
    alignment, report = train_alignment(corpus, content, replace(config, sources=sources), sources=widths)
    return alignment, report, item_vectors(alignment, corpus, content)


def within_users(alignment: Alignment, corpus: Corpus, vectors: np.ndarray) -> float:
    scores, click = alignment.scores(corpus.test, vectors), corpus.test.label("click")
    known = ~np.isnan(click)
    return float(gauc(user_auc(scores[known], click[known], corpus.test.user_id[known])))


@pytest.fixture(scope="module")
def meaning_tells(corpus: Corpus) -> tuple[Corpus, Alignment, AlignmentReport, np.ndarray]:
    """A world where counted words are noise, and towers that were given both sources."""
    told = corpus.content["telling"]
    world = with_sources(corpus, told, noise_like(told)[:, :9])
    return world, *trained(world, "llm", "lexical")


def test_where_meaning_alone_tells_the_towers_are_exactly_those_without_counted_words(
    meaning_tells: tuple[Corpus, Alignment, AlignmentReport, np.ndarray],
) -> None:
    world, both, report, vectors = meaning_tells
    alone, _, of_alone = trained(world, "llm")
    assert report.check is not None
    assert [source.earned for source in report.check.sources] == [True, False]
    assert both.sizes.unused == (1,)
    assert (both.author_trust[:, 1] == 0).all()
    assert np.array_equal(both.author_trust[:, 0], alone.author_trust[:, 0])
    assert np.array_equal(vectors, of_alone)
    assert np.array_equal(both.scores(world.test, vectors), alone.scores(world.test, of_alone))


@pytest.mark.slow
def test_where_words_alone_tell_the_towers_are_exactly_those_without_the_llm(corpus: Corpus) -> None:
    told = corpus.content["telling"]
    world = with_sources(corpus, noise_like(told)[:, :9], told)
    both, report, vectors = trained(world, "llm", "lexical")
    _, _, of_alone = trained(world, "lexical")
    assert report.check is not None
    assert [source.earned for source in report.check.sources] == [False, True]
    assert both.sizes.unused == (0,)
    assert np.array_equal(vectors, of_alone)


@pytest.mark.slow
def test_where_neither_tells_the_author_id_alone_is_left(tmp_path: Path) -> None:
    planted = plant_marts(tmp_path, taste_scale=1.8, base_logit=-1.2, topics_of_author=1, **SIZES)
    corpus = load_corpus(planted.marts, planted.days[-1], DatasetConfig(history_length=10, half_life_seconds=0))
    noise = noise_like(np.zeros((len(corpus.segment_ids), 20)))
    world = with_sources(corpus, noise[:, :9], noise[:, 9:])
    both, report, vectors = trained(world, "llm", "lexical")
    by_id, _ = train_alignment(world, noise, CONFIG, gate_mode="id", sources=(9, 11))
    assert report.gate_mode == "id"
    assert both.sizes.unused == (0, 1)
    assert not both.author_trust.any()
    assert np.array_equal(vectors, item_vectors(by_id, world, noise))


@pytest.mark.slow
def test_sources_that_each_tell_a_half_are_both_used_and_better_than_each(corpus: Corpus, planted: Planted) -> None:
    """Of the four topics, one source tells 0 and 1 from 2 and 3, the other 0 and 2 from 1 and 3."""
    topic = np.zeros(len(corpus.segment_ids), dtype=np.int64)
    topic[corpus.segment_rows(planted.segment_ids)] = planted.segment_topic
    halves = [0.3 * noise_like(np.zeros((len(topic), 6))) + np.eye(6)[bit] for bit in (topic // 2, topic % 2)]
    llm, lexical = (half.astype(np.float32) for half in halves)
    llm[0] = lexical[0] = 0
    world = with_sources(corpus, llm, lexical)
    both, report, vectors = trained(world, "llm", "lexical")
    assert report.check is not None
    assert both.sizes.unused == ()
    first, second = sorted(report.check.sources, key=lambda source: len(source.beside))
    assert (len(first.beside), len(second.beside)) == (0, 1)
    assert both.gates(world.segment_author[1:9], np.concatenate([llm, lexical], axis=1)[1:9]).shape == (2, 8, CONFIG.dim)
    for name in ("llm", "lexical"):
        alone, _, of_alone = trained(world, name)
        assert within_users(both, world, vectors) > within_users(alone, world, of_alone) + 0.02


def test_towers_with_an_unused_source_are_saved_loaded_and_continued_from(
    meaning_tells: tuple[Corpus, Alignment, AlignmentReport, np.ndarray], tmp_path: Path
) -> None:
    world, both, _, vectors = meaning_tells
    both.save(path := tmp_path / "alignment.safetensors")
    loaded = Alignment.load(path)
    content, widths = content_of(world, TUNED, LEXICAL)
    assert (loaded.sizes, loaded.config, loaded.source_names) == (both.sizes, both.config, ("llm", "lexical"))
    assert np.array_equal(item_vectors(loaded, world, content), vectors)
    previous = WarmStart(loaded, world.users, world.authors)
    warm, report = train_alignment(world, content, both.config, sources=widths, warm_start=previous)
    assert report.warm_started
    assert warm.sizes.unused == (1,)
    assert torch.equal(warm.network.rooms.author_trust, both.network.rooms.author_trust)
    only_llm, of_llm = content_of(world, TUNED)
    _, report = train_alignment(world, only_llm, replace(CONFIG, epochs=1, check=False), sources=of_llm, warm_start=previous)
    assert not report.warm_started


def test_a_source_that_is_hidden_in_training_is_missed(corpus: Corpus) -> None:
    """Each source tells a part of the topics that the other does not: what is hidden cannot be learned from."""
    told = corpus.content["telling"]
    world = with_sources(corpus, told[:, ::2], told[:, 1::2])
    config = replace(CONFIG, epochs=2, check=False)
    losses = [
        trained(world, "llm", "lexical", config=replace(config, source_dropout=share))[1].losses[-1] for share in (0.0, 0.9)
    ]
    assert losses[0] < losses[1]


def test_a_choice_of_sources_that_is_none_is_refused(corpus: Corpus) -> None:
    for sources in ((), ("llm", "llm"), ("words",)):
        with pytest.raises(LiveAlignError, match=r"alignment\.sources.*name each of llm, lexical, frames once"):
            AlignmentConfig(sources=sources)
    world = with_sources(corpus, corpus.content["telling"], corpus.content["telling"][:, :3])
    assert own_content(world, ("lexical", "llm")).shape[1] == 3 + 24
    with pytest.raises(LiveAlignError, match="no content 'lexical'"):
        content_of(replace(world, content={TUNED: world.content[TUNED]}), TUNED, LEXICAL)
    with pytest.raises(BundleError, match=r"nowhere\.safetensors"):
        Alignment.load(Path("nowhere.safetensors"))

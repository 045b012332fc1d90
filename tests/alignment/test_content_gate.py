"""The gate: how far the towers lean on content, checked on held-out rooms."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livealign.alignment.content_check import halves_of_rooms
from livealign.alignment.gate_report import gate_by_popularity
from livealign.alignment.towers import Alignment, item_vectors
from livealign.alignment.training import train_alignment
from livealign.config import DatasetConfig
from livealign.dataset.content import content_of, pad_or_cut
from livealign.dataset.corpus import PLATFORM_CONTENT, Corpus, load_corpus
from livealign.errors import TrainingError
from livealign.metrics import gauc, user_auc
from tests.planted.marts import plant_marts
from tests.support.topic_corpus import CONFIG, CONTENT, noise_like, planted_corpus, within_users


def test_content_that_tells_the_topic_is_learned(corpus: Corpus, alignment: Alignment) -> None:
    by_id = train_alignment(corpus, corpus.content[CONTENT], CONFIG, gate_mode="id")[0]
    assert within_users(alignment, corpus, corpus.content[CONTENT]) > 0.65
    assert (
        within_users(alignment, corpus, corpus.content[CONTENT]) > within_users(by_id, corpus, corpus.content[CONTENT]) + 0.08
    )


def test_rooms_lean_on_content_where_it_tells_and_on_the_id_where_content_is_noise(corpus: Corpus, tmp_path: Path) -> None:
    longer = replace(CONFIG, epochs=25, learning_rate=1e-2, check=False)
    told_by_content = train_alignment(corpus, corpus.content[CONTENT], longer)[1].id_share
    one_topic_authors = planted_corpus(tmp_path, topics_of_author=1)
    told_by_id = train_alignment(one_topic_authors, noise_like(one_topic_authors.content[CONTENT]), longer)[1].id_share
    assert told_by_content < 0.35
    assert told_by_id > 0.55


def test_content_that_tells_nothing_is_turned_down_and_leaves_the_towers_of_the_id(tmp_path: Path) -> None:
    corpus = planted_corpus(tmp_path, topics_of_author=1)
    noise = noise_like(corpus.content[CONTENT])
    aligned, report = train_alignment(corpus, noise, CONFIG)
    by_id, _ = train_alignment(corpus, noise, CONFIG, gate_mode="id")
    assert report.check is not None
    assert report.check.sources[0].users > 20
    assert not report.check.earned
    assert report.gate_mode == "id"
    assert report.id_share == 1
    assert (item_vectors(aligned, corpus, noise) == item_vectors(by_id, corpus, noise)).all()


@pytest.mark.slow
def test_content_is_trusted_with_the_authors_whose_words_tell_and_not_with_the_others(tmp_path: Path) -> None:
    """Half the authors air one topic each and their content is noise, the others air all topics: content as a whole loses, and
    a gate that learns by itself or a fixed mean ranks hardly better than without it."""
    planted = plant_marts(
        tmp_path, 150, 30, 6, days=6, rooms_per_day=30, requests_per_day=600, noise=0.1, taste_scale=1.8, base_logit=-1.2,
        topics_of_author=6, steady_authors=15,
    )  # fmt: skip
    corpus = load_corpus(planted.marts, planted.days[-1], DatasetConfig(history_length=10, half_life_seconds=0))
    corpus = corpus.with_content(CONTENT, planted.segment_ids, planted.vectors)
    steady = (corpus.segment_author_id >= 900) & (corpus.segment_author_id < 915)
    content = np.where(steady[:, None], noise_like(corpus.content[CONTENT]), corpus.content[CONTENT])
    aligned, report = train_alignment(corpus, content, CONFIG)
    assert report.check is not None
    assert report.check.earned
    known = np.unique(corpus.segment_author[1:])
    known = known[known > 0]
    trust = report.check.trust[known, 0]
    is_steady = np.isin(known, corpus.segment_author[steady])
    assert trust[is_steady].mean() < 0.2
    assert trust[~is_steady].mean() > 0.8
    unchecked, mean = (train_alignment(corpus, content, replace(CONFIG, check=False), mode)[0] for mode in ("learned", "mean"))
    ranks = [within_users(towers, corpus, content) for towers in (aligned, unchecked, mean)]
    assert ranks[0] > max(ranks[1:]) + 0.04


def test_content_that_tells_something_passes_its_check(corpus: Corpus, alignment: Alignment) -> None:
    _, report = train_alignment(corpus, corpus.content[CONTENT], CONFIG)
    assert report.check is not None
    (check,) = report.check.sources
    assert check.gain > max(0.05, 1.5 * check.error)
    assert report.gate_mode == alignment.gate_mode == "learned"


def test_the_source_that_tells_opens_its_gate_and_the_one_that_does_not_keeps_it(corpus: Corpus) -> None:
    """The platform's vectors tell the topic, the LLM's are noise."""
    told = corpus.content[CONTENT]
    both = replace(corpus, content={CONTENT: noise_like(told)[:, :8], PLATFORM_CONTENT: told})
    content, sources = content_of(both, CONTENT)
    assert sources == (8, told.shape[1])
    alignment, report = train_alignment(both, content, replace(CONFIG, check=False), sources=sources)
    assert report.gate_mode == "learned"
    rows = np.flatnonzero(both.segment_is_train)
    of_llm, of_platform = alignment.gates(both.segment_author[rows], content[rows]).mean((1, 2))
    assert of_platform < of_llm - 0.05
    by_id = train_alignment(both, content, CONFIG, gate_mode="id", sources=sources)[0]
    assert within_users(alignment, both, content) > within_users(by_id, both, content) + 0.04
    only_llm = alignment.room_vectors(both.segment_author[rows], content[rows, :8])  # as the service sees a room
    missing = np.pad(content[rows, :8], ((0, 0), (0, told.shape[1])))
    assert (only_llm == alignment.room_vectors(both.segment_author[rows], missing)).all()


def test_content_is_joined_fitted_and_missed_by_name(corpus: Corpus) -> None:
    alone = content_of(corpus, CONTENT)
    assert alone.vectors is corpus.content[CONTENT]
    assert alone.sources == (corpus.content[CONTENT].shape[1],)
    row = np.arange(1.0, 4.0)[None]
    assert pad_or_cut(row, 2).tolist() == [[1, 2]]
    assert pad_or_cut(row, 4).tolist() == [[1, 2, 3, 0]]
    with pytest.raises(TrainingError, match="embed the segments first"):
        content_of(corpus, "raw_llm")


def test_rooms_are_halved_whole(corpus: Corpus) -> None:
    half = halves_of_rooms(corpus.train, seed=1)
    assert not set(corpus.train.room_id[half == 0]) & set(corpus.train.room_id[half == 1])
    assert 0.3 < half.mean() < 0.7
    assert (half == halves_of_rooms(corpus.train, seed=1)).all()


def test_a_cold_author_is_ranked_by_content(corpus: Corpus, alignment: Alignment) -> None:
    """For an author never seen, a moment like those a user entered scores above one they passed by."""
    content, test = corpus.content[CONTENT], corpus.test
    vectors = item_vectors(alignment, corpus, content)
    cold = alignment.room_vectors(np.zeros(len(content), dtype=np.int64), content)
    users = alignment.example_user_vectors(test, vectors)
    scores = np.einsum("nd,nd->n", users, cold[test.segment])
    known = (test.segment > 0) & ~np.isnan(test.label("click"))
    assert float(gauc(user_auc(scores[known], test.label("click")[known], test.user_id[known]))) > 0.62


def test_without_content_the_author_alone_speaks(corpus: Corpus, alignment: Alignment) -> None:
    nothing = np.zeros((3, alignment.sizes.content_dim), dtype=np.float32)
    assert (alignment.gates(np.array([1, 2, 0]), nothing) == 1).all()
    assert np.allclose(alignment.id_share(np.array([1, 2, 0]), nothing), 1)
    vectors = item_vectors(alignment, corpus, corpus.content[CONTENT])
    assert np.allclose(vectors[len(corpus.segment_ids) + 2], alignment.room_vectors(np.array([2]), nothing[:1])[0], atol=1e-6)
    assert np.allclose(np.linalg.norm(vectors[1:], axis=1), 1, atol=1e-5)
    assert not vectors[0].any()


def test_the_gate_report_covers_every_segment_with_content(corpus: Corpus, alignment: Alignment) -> None:
    report = gate_by_popularity(alignment, corpus, corpus.content[CONTENT])
    assert sum(group.authors for group in report.values()) == len(np.unique(corpus.segment_author_id[1:]))
    assert sum(group.segments for group in report.values()) == len(corpus.segment_ids) - 1
    assert all(0 < share < 1 for group in report.values() for share in (group.gate, group.id_share))


def test_a_gate_lets_no_more_through_than_its_author_is_trusted_with(corpus: Corpus, alignment: Alignment) -> None:
    content, author = corpus.content[CONTENT], corpus.segment_author
    fully, half, not_at_all = (copy.deepcopy(alignment) for _ in range(3))
    for towers, trust in ((fully, 1.0), (half, 0.5), (not_at_all, 0.0)):
        towers.network.rooms.author_trust.fill_(trust)
    assert np.allclose(1 - half.gates(author, content), 0.5 * (1 - fully.gates(author, content)), atol=1e-6)
    by_id = fully.room_vectors(author, np.zeros_like(content))
    assert np.allclose(not_at_all.room_vectors(author, content), by_id, atol=1e-6)

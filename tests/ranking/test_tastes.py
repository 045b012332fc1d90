"""Users' tastes for codes against planted ones, and that no score knows its own day."""

from dataclasses import replace

import numpy as np
import pytest

from livealign.config import DatasetConfig
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.days import DAY_MS
from livealign.metrics import gauc, user_auc
from livealign.ranking.tastes import Affinity, learn_tastes
from tests.planted.marts import Planted, plant_marts

TOPICS, POSITIONS = 6, 32


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    marts = tmp_path_factory.mktemp("marts")
    return plant_marts(marts, 100, 16, TOPICS, days=4, requests_per_day=350, taste_scale=1.8, base_logit=-1.2)


@pytest.fixture(scope="module")
def corpus(planted: Planted) -> Corpus:
    return load_corpus(planted.marts, planted.days[-1], DatasetConfig(history_length=10))


@pytest.fixture(scope="module")
def codes(planted: Planted, corpus: Corpus) -> np.ndarray:
    """The planted topic of each item, one level; authors without content have a code of their own."""
    found = np.full((corpus.n_items, 1), TOPICS)
    order = np.argsort(planted.segment_ids)
    places = order[np.searchsorted(planted.segment_ids[order], corpus.segment_ids[1:])]
    found[1 : len(corpus.segment_ids), 0] = planted.segment_topic[places]
    return found


def within_users(corpus: Corpus, scores: np.ndarray) -> float:
    label = corpus.test.label("click")
    known = ~np.isnan(label)
    return float(gauc(user_auc(scores[known], label[known], corpus.test.user_id[known])))


def test_tastes_come_near_the_true_ones_and_beat_each_users_own_rates(
    planted: Planted, corpus: Corpus, codes: np.ndarray
) -> None:
    tastes, _ = learn_tastes(corpus.train, codes, None, corpus.users.size, TOPICS + 1, POSITIONS)
    weights = tastes.affinity.weights(codes, None)
    learned = within_users(corpus, tastes.scores(corpus.test.user, weights[corpus.test.item]))
    code, click = codes[corpus.train.item, 0], np.nan_to_num(corpus.train.label("click"))
    shown, clicked = np.zeros((2, corpus.users.size, TOPICS + 1))
    np.add.at(shown, (corpus.train.user, code), 1)
    np.add.at(clicked, (corpus.train.user, code), click)
    plain = ((clicked + 1e-3) / (shown + 1e-2))[corpus.test.user, codes[corpus.test.item, 0]]
    oracle = within_users(corpus, planted.truth(corpus.test.impression_id)[0])
    assert learned > within_users(corpus, plain) + 0.005
    assert learned > 0.5 + 0.6 * (oracle - 0.5)


def test_a_score_knows_only_the_days_before(corpus: Corpus, codes: np.ndarray) -> None:
    _, scores = learn_tastes(corpus.train, codes, None, corpus.users.size, TOPICS + 1, POSITIONS)
    day = corpus.train.shown_at // DAY_MS
    later = day >= day.max()
    labels = corpus.train.labels.copy()
    labels[later] = 1 - labels[later]
    changed = replace(corpus.train, labels=labels, position=np.full_like(corpus.train.position, np.nan))
    same = replace(corpus.train, position=np.full_like(corpus.train.position, np.nan))
    after = learn_tastes(changed, codes, None, corpus.users.size, TOPICS + 1, POSITIONS)[1]
    before = learn_tastes(same, codes, None, corpus.users.size, TOPICS + 1, POSITIONS)[1]
    assert np.corrcoef(after[later], before[later])[0, 1] > 0.999  # but for the base rate, which is one for all
    assert not scores[day == day.min()].any()
    late = replace(corpus.train, click_known_at=np.full_like(corpus.train.shown_at, corpus.train.shown_at.max()))
    assert not learn_tastes(late, codes, None, corpus.users.size, TOPICS + 1, POSITIONS)[1].any()


def test_a_taste_that_changed_is_followed_and_one_that_did_not_is_kept(corpus: Corpus, codes: np.ndarray) -> None:
    """Eight users click on one topic each; on the last training day four of them on another."""
    train, rng = corpus.train, np.random.default_rng(5)
    day = train.shown_at // DAY_MS
    user = rng.integers(1, 9, len(train))
    likes = np.where((day == day.max()) & (user <= 4), user + 3, user) % TOPICS
    labels = train.labels.copy()
    labels[:, 0] = rng.random(len(train)) < np.where(codes[train.item, 0] == likes, 0.6, 0.05)
    tastes, _ = learn_tastes(replace(train, user=user, labels=labels), codes, None, 9, TOPICS + 1, POSITIONS)
    users = np.arange(1, 9)
    expected = np.where(users <= 4, users + 3, users) % TOPICS
    assert (tastes.log_rates[1:, :TOPICS].argmax(1) == expected).sum() >= 7  # one may have hardly been shown the new topic


def test_a_user_who_was_never_seen_has_the_taste_of_all(corpus: Corpus, codes: np.ndarray) -> None:
    tastes, _ = learn_tastes(corpus.train, codes, None, corpus.users.size, TOPICS + 1, POSITIONS)
    assert tastes.log_rates[0, :TOPICS] == pytest.approx(tastes.log_rates[1:, :TOPICS].mean(0), abs=0.4)


def test_affinities_sum_to_one_and_are_largest_for_the_own_code() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(3), 20)[:, None]
    vectors = (np.eye(4)[codes[:, 0]] + 0.1 * rng.normal(size=(60, 4))).astype(np.float32)
    affinity = Affinity.of(5, codes, vectors)  # codes 3 and 4 are dead
    weights = affinity.weights(codes, vectors)
    assert weights.sum(1) == pytest.approx(np.ones(60), abs=1e-5)
    assert (weights.argmax(1) == codes[:, 0]).all()
    assert not weights[:, 3:].any()

"""The loss of the towers, and their training, against planted truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from livealign.alignment import training
from livealign.alignment.network import ContentScaler, in_batch_softmax
from livealign.alignment.towers import Alignment, item_vectors
from livealign.alignment.training import author_log_q, train_alignment
from livealign.dataset.corpus import Corpus
from livealign.dataset.features import USER_FEATURES
from livealign.errors import TrainingError
from tests.support.topic_corpus import CONFIG, CONTENT


def test_log_q_correction_and_masks_are_the_formula() -> None:
    similarity = torch.tensor([[0.9, 0.1, 0.4, 0.2], [0.3, 0.8, 0.0, 0.1], [0.5, 0.2, 0.7, 0.3], [0.1, 0.2, 0.3, 0.6]])
    log_q = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()
    same_user, same_room, same_time = torch.eye(4).bool(), torch.eye(4).bool(), torch.ones(4, 4).bool()
    same_user[0, 1] = same_user[1, 0] = True
    same_room[2, 3] = same_room[3, 2] = True
    same_time[0, 3] = same_time[3, 0] = False
    kept = [[0, 2], [1, 2, 3], [2, 0, 1], [3, 1]]  # first the positive, then its negatives
    logits = similarity.numpy() / 0.2 - log_q.numpy()
    expected = -np.mean([logits[i, js[0]] - np.log(np.exp(logits[i, js]).sum()) for i, js in enumerate(kept)])
    loss = in_batch_softmax(similarity, torch.tensor(0.2), log_q, same_user, same_room, same_time)
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_log_q_is_each_authors_share_of_the_clicks(corpus: Corpus) -> None:
    clicked = corpus.train.author[corpus.train.label("click") == 1]
    counts = np.array([(clicked == author).sum() for author in range(corpus.authors.size)])
    assert np.allclose(np.exp(author_log_q(corpus.train, corpus.authors.size)), (counts + 1) / (counts + 1).sum())


def test_user_vectors_know_only_the_given_history(corpus: Corpus, alignment: Alignment) -> None:
    vectors = item_vectors(alignment, corpus, corpus.content[CONTENT])
    rows = np.flatnonzero(corpus.test.history_length >= 3)[:4]
    part = corpus.test.take(rows)
    features = part.features[:, USER_FEATURES]
    short = alignment.user_vectors(part.user, vectors[part.history_item[:, :3]], np.full(len(rows), 3), features)
    garbage = vectors[part.history_item].copy()
    garbage[:, 3:] = 9.0
    assert np.allclose(short, alignment.user_vectors(part.user, garbage, np.full(len(rows), 3), features), atol=1e-5)


def test_the_same_seed_gives_the_same_towers_and_another_does_not(corpus: Corpus) -> None:
    config, content = replace(CONFIG, epochs=1), corpus.content[CONTENT]
    first, again, other = (train_alignment(corpus, content, one)[0] for one in (config, config, replace(config, seed=5)))
    assert (item_vectors(first, corpus, content) == item_vectors(again, corpus, content)).all()
    assert not np.allclose(item_vectors(first, corpus, content), item_vectors(other, corpus, content))


def test_what_cannot_be_trained_is_refused(corpus: Corpus) -> None:
    with pytest.raises(TrainingError, match="gate mode"):
        train_alignment(corpus, corpus.content[CONTENT], CONFIG, gate_mode="both")
    empty = replace(corpus, train=corpus.train.take(corpus.train.label("click") == 0))
    with pytest.raises(TrainingError, match="no click"):
        train_alignment(empty, corpus.content[CONTENT], CONFIG)


def test_the_scaler_gives_uncorrelated_components_of_unit_variance_on_average() -> None:
    rng = np.random.default_rng(0)
    cone = torch.from_numpy((5 + rng.normal(size=(2_000, 12)) * np.linspace(0.1, 3, 12)).astype(np.float32))
    scaler = ContentScaler(12, 6)
    scaler.fit(cone)
    covariance = np.cov(scaler(cone).numpy().T)
    assert np.diag(covariance).mean() == pytest.approx(1, abs=0.01)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3


def test_even_dimensions_of_huge_variance_do_not_choose_the_components() -> None:
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(2_000, 3))
    spread_out = meaning @ rng.normal(size=(3, 60)) + 0.3 * rng.normal(size=(2_000, 60))
    huge = 1_000 * rng.normal(size=(2_000, 4))
    content = torch.from_numpy(np.concatenate([spread_out, huge], axis=1).astype(np.float32))
    scaler = ContentScaler(64, 4)

    def unexplained(evenness: float) -> float:
        scaler.fit(content, evenness=evenness)
        components = scaler(content).numpy()
        explained = components @ np.linalg.lstsq(components, meaning, rcond=None)[0]
        return float(((explained - meaning).var(0) / meaning.var(0)).max())

    assert unexplained(0.0) > 0.9
    assert unexplained(1.0) < 0.05


def test_training_leaves_the_callers_random_numbers_and_threads_alone(corpus: Corpus) -> None:
    torch.manual_seed(3)
    wanted, threads = torch.rand(4), torch.get_num_threads()
    torch.manual_seed(3)
    train_alignment(corpus, corpus.content[CONTENT], replace(CONFIG, epochs=1))
    assert (torch.rand(4) == wanted).all()
    assert torch.get_num_threads() == threads


def test_the_temperature_and_the_bias_of_the_place_are_learned(alignment: Alignment) -> None:
    assert abs(alignment.network.temperature.item() - CONFIG.initial_temperature) > 1e-3
    bias = alignment.network.position_bias.weight[:, 0]  # planted: clicks become rarer from place to place
    assert bias[1:4].mean() > bias[6:9].mean() + 0.02


def test_the_share_of_each_author_reaches_the_loss(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    config, content = replace(CONFIG, epochs=1, check=False), corpus.content[CONTENT]
    corrected = train_alignment(corpus, content, config)[1].losses
    monkeypatch.setattr(training, "author_log_q", lambda _, authors: np.zeros(authors, dtype=np.float32))
    assert train_alignment(corpus, content, config)[1].losses != corrected


@pytest.mark.parametrize(("share", "trained"), [(0.0, True), (1.0, False)])
def test_an_id_that_is_hidden_is_not_trained(share: float, trained: bool, corpus: Corpus) -> None:
    config = replace(CONFIG, epochs=1, check=False, weight_decay=0.0, id_dropout=share)
    slow, fast = (
        train_alignment(corpus, corpus.content[CONTENT], replace(config, learning_rate=rate))[0].network
        for rate in (1e-3, 1e-2)
    )
    for of_slow, of_fast in (
        (slow.users.user, fast.users.user),
        (slow.rooms.author, fast.rooms.author),
        (slow.author_bias, fast.author_bias),
    ):
        assert torch.equal(of_slow.weight[1:], of_fast.weight[1:]) is not trained

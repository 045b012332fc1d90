"""The ranker: what its losses, tables and files promise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from livealign.config import DatasetConfig, RankerConfig
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.dataset.examples import TASKS, Engaged
from livealign.days import DAY_MS
from livealign.errors import BundleError, TrainingError
from livealign.metrics import gauc, user_auc
from livealign.ranking.calibration import calibration, calibration_split
from livealign.ranking.inputs import history_matches
from livealign.ranking.network import Batch, ItemTable, RankerNetwork, RankerSizes, code_rows, masked_loss
from livealign.ranking.ranker import Ranker
from livealign.ranking.training import train_ranker
from tests.planted.marts import Planted, plant_marts

CONFIG = RankerConfig(id_dim=4, code_dim=8, hidden=(16,), epochs=5, batch_size=256, learning_rate=5e-3)
TOPICS = 4
HISTORY = ("history", "history_length")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    marts = tmp_path_factory.mktemp("marts")
    return plant_marts(marts, 100, 16, TOPICS, days=4, requests_per_day=350, taste_scale=1.8, base_logit=-1.2)


@pytest.fixture(scope="module")
def corpus(planted: Planted) -> Corpus:
    return load_corpus(planted.marts, planted.days[-1], DatasetConfig(history_length=10))


@pytest.fixture(scope="module")
def items(planted: Planted, corpus: Corpus) -> ItemTable:
    """Codes that are the planted topics; two levels, the second says nothing."""
    codes = np.full((corpus.n_items, 2), TOPICS, dtype=np.int32)
    order = np.argsort(planted.segment_ids)
    places = order[np.searchsorted(planted.segment_ids[order], corpus.segment_ids[1:])]
    codes[1 : len(corpus.segment_ids), 0] = planted.segment_topic[places]
    return ItemTable(None, codes)


@pytest.fixture(scope="module")
def ranker(corpus: Corpus, items: ItemTable) -> Ranker:
    return train_ranker(corpus, items, CONFIG, "v1", TOPICS + 1)


def within_users(corpus: Corpus, scores: np.ndarray) -> float:
    label = corpus.test.label("click")
    known = ~np.isnan(label)
    return float(gauc(user_auc(scores[known], label[known], corpus.test.user_id[known])))


def test_codes_of_the_moment_are_worth_something_and_ids_alone_less(
    corpus: Corpus, items: ItemTable, ranker: Ranker, planted: Planted
) -> None:
    with_codes = within_users(corpus, ranker.predict(corpus.test, items)[:, 0])
    without = within_users(corpus, train_ranker(corpus, ItemTable(), CONFIG).predict(corpus.test, ItemTable())[:, 0])
    oracle, static = (within_users(corpus, truth) for truth in planted.truth(corpus.test.impression_id))
    assert with_codes > without + 0.5 * (oracle - static)


def test_unobserved_labels_have_no_gradient() -> None:
    labels = torch.tensor([[1.0, float("nan")], [0.0, 1.0], [float("nan"), float("nan")]])
    logits = torch.zeros(3, 2, requires_grad=True)
    loss = masked_loss(logits, labels, torch.tensor([1.0, 2.0]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(3 * np.log(2), abs=1e-6)
    assert logits.grad is not None
    assert ((logits.grad == 0) == torch.isnan(labels)).all()


def test_a_task_that_was_never_observed_does_not_spoil_the_others(corpus: Corpus, items: ItemTable) -> None:
    labels = corpus.train.labels.copy()
    labels[:, TASKS.index("gift")] = np.nan
    silent = replace(corpus, train=replace(corpus.train, labels=labels))
    scores = train_ranker(silent, items, replace(CONFIG, epochs=1), "v1", TOPICS + 1).predict(corpus.test, items)
    assert np.isfinite(scores).all()
    assert ((scores > 0) & (scores < 1)).all()


def test_probabilities_are_near_the_truth_on_average(corpus: Corpus, items: ItemTable, ranker: Ranker) -> None:
    scores = ranker.predict(corpus.test, items)
    assert scores.dtype == np.float32
    assert np.allclose(scores.mean(0), np.nanmean(corpus.test.labels, axis=0), atol=0.05)


def test_the_place_in_the_list_is_learned_from_and_not_scored_with(corpus: Corpus, items: ItemTable, ranker: Ranker) -> None:
    bias = ranker.network.position.weight.detach().numpy()[:, 0]
    assert bias[1] > bias[3] > bias[5]
    moved = replace(corpus.test, position=np.zeros_like(corpus.test.position))
    assert (ranker.predict(moved, items) == ranker.predict(corpus.test, items)).all()
    unknown = replace(corpus, train=replace(corpus.train, position=np.full_like(corpus.train.position, np.nan)))
    trained = train_ranker(unknown, items, replace(CONFIG, epochs=1), "v1", TOPICS + 1)
    assert np.isfinite(trained.predict(corpus.test, items)).all()


def test_a_ranker_refuses_the_codes_of_another_codebook(ranker: Ranker, tmp_path: Path) -> None:
    path = tmp_path / "ranker.safetensors"
    ranker.save(path)
    with pytest.raises(BundleError, match=r"ranker\.safetensors was trained with codebook 'v1', not 'v2'"):
        Ranker.load(path, "v2")
    with pytest.raises(BundleError, match="not ''"):
        Ranker.load(path, "")


def test_a_saved_ranker_comes_back_as_it_was_and_a_damaged_one_does_not(
    corpus: Corpus, items: ItemTable, ranker: Ranker, tmp_path: Path
) -> None:
    path = tmp_path / "ranker.safetensors"
    ranker.save(path)
    loaded = Ranker.load(path, "v1")
    assert (loaded.predict(corpus.test, items) == ranker.predict(corpus.test, items)).all()
    assert loaded.config == ranker.config
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BundleError, match=r"ranker\.safetensors"):
        Ranker.load(path, "v1")


def test_the_same_seed_gives_the_same_ranker(corpus: Corpus, items: ItemTable) -> None:
    short = replace(CONFIG, epochs=1)
    first, again = (train_ranker(corpus, items, short, "v1", TOPICS + 1).predict(corpus.test, items) for _ in range(2))
    other = train_ranker(corpus, items, replace(short, seed=3), "v1", TOPICS + 1).predict(corpus.test, items)
    assert (first == again).all()
    assert not np.allclose(first, other)


def test_codes_without_a_codebook_are_refused(corpus: Corpus, items: ItemTable) -> None:
    with pytest.raises(TrainingError, match="name the codebook"):
        train_ranker(corpus, items, CONFIG)


def test_attention_by_tables_is_attention_over_entries() -> None:
    sizes = RankerSizes(5, 6, 2, 4, 0, 15, 3, 5)
    torch.manual_seed(0)
    network = RankerNetwork(sizes, CONFIG).eval()
    rng = np.random.default_rng(0)
    author, codes = rng.integers(0, 6, (7, 3)), code_rows(rng.integers(0, 4, (7, 3, 2)), sizes)
    now = torch.from_numpy(code_rows(rng.integers(0, 4, (7, 2)), sizes))
    mask = torch.from_numpy(np.arange(3) < np.array([0, 1, 2, 3, 3, 2, 1])[:, None])
    blank = torch.zeros(7, dtype=torch.int64)
    batch = Batch(
        *(blank, torch.from_numpy(author[:, 0]), blank, torch.zeros(7, 15), torch.zeros(7, sizes.matches), now),
        *(torch.zeros(7, 0), torch.from_numpy(author), torch.from_numpy(codes), mask),
    )
    item = network._item(batch)
    pooled, intensity = network._attend(item, batch)
    entries = torch.cat(
        [
            network.author(batch.history_author),
            sum(table(batch.history_codes[:, :, level]) for level, table in enumerate(network.codes)),
        ],
        dim=2,
    )
    logits = (network.query(item).unsqueeze(1) * network.key(entries)).sum(2) * CONFIG.id_dim**-0.5
    weights = torch.sigmoid(logits + network.recency + network.attention_bias) * mask
    expected = (weights.unsqueeze(2) * entries).sum(1) / mask.sum(1, keepdim=True).clamp_min(1).sqrt()
    assert torch.allclose(pooled, expected, atol=1e-5)
    assert torch.allclose(intensity, torch.log1p(weights.sum(1, keepdim=True)), atol=1e-5)


@pytest.mark.parametrize("known", ["codes and vectors", "vectors", "authors alone"])
def test_a_history_that_is_there_once_counts_for_every_room(known: str, corpus: Corpus, items: ItemTable) -> None:
    vectors = np.random.default_rng(3).normal(size=(len(items.codes), 4)).astype(np.float32)
    table = {"codes and vectors": items._replace(vectors=vectors), "vectors": ItemTable(vectors), "authors alone": ItemTable()}
    version, codes = ("v1", TOPICS + 1) if known == "codes and vectors" else ("", 0)
    ranker = train_ranker(corpus, table[known], replace(CONFIG, epochs=1), version, codes)
    reader = int(np.argmax(corpus.test.history_length))
    repeated = {name: getattr(corpus.test, name)[[reader] * len(corpus.test)] for name in HISTORY}
    once = {name: values[:1] for name, values in repeated.items()}
    found = ranker.predict(replace(corpus.test, **once), table[known])
    assert found == pytest.approx(ranker.predict(replace(corpus.test, **repeated), table[known]), abs=1e-6)
    assert np.ptp(found[:, 0]) > 0


def test_history_matches_count_what_is_shared(corpus: Corpus) -> None:
    examples = corpus.test.take(np.array([0]))
    history, rooms = np.full((1, examples.places), -1, np.int32), np.array([2, 3, 4])
    history[0, :3] = [0, 1, 2]
    examples = replace(
        examples,
        item=np.array([1]),
        author=np.array([1]),
        history=history,
        history_length=np.array([3]),
        engaged=Engaged.of(np.array([1, 1, 2]), rooms, rooms),
    )
    vectors = np.array([[0, 0], [1, 0], [1, 0], [0, 2], [-3, 0]], dtype=np.float32)
    counts = [np.log1p(3), np.log1p(2), 2 / 3]
    assert history_matches(examples, ItemTable(vectors))[0] == pytest.approx([*counts, 0.0, 1.0, 1 / np.sqrt(3)], abs=1e-6)
    assert history_matches(examples, ItemTable(vectors, np.zeros((5, 2), np.int32)))[0] == pytest.approx(counts, abs=1e-6)


def test_codes_are_embedded_with_their_prefix_while_prefixes_are_few() -> None:
    sizes = RankerSizes(1, 1, 3, 32, 0, 0, 1, 5)
    assert sizes.code_tables == (32, 1024, 32)
    assert code_rows(np.array([[3, 4, 5]]), sizes).tolist() == [[3, 3 * 32 + 4, 5]]


def test_requests_that_are_kept_out_set_the_calibration_and_nothing_else(corpus: Corpus) -> None:
    config = replace(CONFIG, epochs=1, calibration_share=0.3)
    _, held_out = calibration_split(corpus.train.request, config)
    assert len(held_out) > 1_000
    labels = corpus.train.labels.copy()
    labels[held_out[::2], TASKS.index("click")] = 0
    other = replace(corpus, train=replace(corpus.train, labels=labels))
    before, after = (train_ranker(one, ItemTable(), config) for one in (corpus, other))
    for name, weights in before.network.state_dict().items():
        assert torch.equal(weights, after.network.state_dict()[name]), name
    click = TASKS.index("click")
    assert before.scales["scale"][click] != 1
    assert after.scales["shift"][click] < before.scales["shift"][click] - 0.3, "half as many clicks came true"


def test_the_calibration_sees_tastes_of_the_days_before_as_serving_does(
    corpus: Corpus, items: ItemTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def calibration_of(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(logits)
        return calibration(logits, labels)

    monkeypatch.setattr("livealign.ranking.training.calibration", calibration_of)
    config = replace(CONFIG, epochs=1, calibration_share=0.6)
    ranker = train_ranker(corpus, items, config, "v1", TOPICS + 1)
    later = corpus.train.take(np.flatnonzero(corpus.train.shown_at // DAY_MS > corpus.train.shown_at.min() // DAY_MS))
    rest = later.take(calibration_split(later.request, config)[1])
    tastes_of_all_days = (ranker.logits(rest, items) - ranker.scales["shift"]) / ranker.scales["scale"]
    assert seen[0].shape == tastes_of_all_days.shape
    assert np.abs(seen[0] - tastes_of_all_days).mean() > 0.01


def test_the_first_days_teach_the_tastes_and_nothing_else(corpus: Corpus, items: ItemTable) -> None:
    features = corpus.train.features.copy()
    features[corpus.train.shown_at // DAY_MS == corpus.train.shown_at.min() // DAY_MS] += 100
    other = replace(corpus, train=replace(corpus.train, features=features))
    config = replace(CONFIG, epochs=1, taste_days_share=0.5)
    before, after = (train_ranker(one, items, config, "v1", TOPICS + 1) for one in (corpus, other))
    assert before.scales["feature_mean"].tolist() == after.scales["feature_mean"].tolist()
    assert before.losses == after.losses
    alone = train_ranker(other, items, replace(config, taste_days_share=0.0), "v1", TOPICS + 1)
    assert alone.scales["feature_mean"].tolist() != after.scales["feature_mean"].tolist()


@pytest.mark.parametrize("setting", ["user_l2", "user_l2_with_tastes"])
def test_the_prior_keeps_the_factors_of_users_and_authors_small(setting: str, corpus: Corpus, items: ItemTable) -> None:
    table, codebook = (items, ("v1", TOPICS + 1)) if setting == "user_l2_with_tastes" else (ItemTable(), ())
    free, held = (
        train_ranker(corpus, table, replace(CONFIG, epochs=1, **{setting: prior}), *codebook).network for prior in (0.0, 100.0)
    )
    for name in ("user", "author"):
        sizes = [getattr(network, name).weight.detach().square().mean() for network in (free, held)]
        assert sizes[1] < sizes[0], name

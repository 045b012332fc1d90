"""The gate, the loss and the towers against planted truth."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from livealign.alignment import training
from livealign.alignment.batches import ImpressionTensors
from livealign.alignment.content_check import halves_of_rooms
from livealign.alignment.gate_report import gate_by_popularity
from livealign.alignment.network import ContentScaler, TwoTower, in_batch_softmax
from livealign.alignment.towers import Alignment, item_vectors
from livealign.alignment.training import author_log_q, train_alignment
from livealign.alignment.warm_start import WarmStart
from livealign.config import AlignmentConfig, DatasetConfig
from livealign.dataset.content import content_of, pad_or_cut
from livealign.dataset.corpus import PLATFORM_CONTENT, Corpus, load_corpus
from livealign.dataset.examples import Vocabulary
from livealign.dataset.features import USER_FEATURES
from livealign.dataset.scaling import METADATA
from livealign.errors import BundleError, TrainingError
from livealign.metrics import gauc, user_auc
from tests.planted.marts import plant_marts

CONFIG = AlignmentConfig(sources=("llm",), dim=16, hidden=32, epochs=8, batch_size=256, content_rank=16)
CONTENT = "tuned_llm"


def planted_corpus(folder: Path, topics_of_author: int) -> Corpus:
    planted = plant_marts(
        folder,
        users=100,
        authors=16,
        topics=4,
        days=4,
        requests_per_day=350,
        noise=0.1,
        taste_scale=1.8,
        base_logit=-1.2,
        topics_of_author=topics_of_author,
    )
    corpus = load_corpus(planted.marts, planted.days[-1], DatasetConfig(history_length=10, half_life_seconds=0))
    return corpus.with_content(CONTENT, planted.segment_ids, planted.vectors)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Authors whose rooms go through all topics: the ID says little, the moment much."""
    return planted_corpus(tmp_path_factory.mktemp("marts"), topics_of_author=4)


@pytest.fixture(scope="module")
def alignment(corpus: Corpus) -> Alignment:
    return train_alignment(corpus, corpus.content[CONTENT], CONFIG)[0]


def noise_like(content: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=content.shape).astype(np.float32)
    noise[0] = 0
    return noise


def within_users(alignment: Alignment, corpus: Corpus, content: np.ndarray) -> float:
    scores = alignment.scores(corpus.test, item_vectors(alignment, corpus, content))
    known = ~np.isnan(corpus.test.label("click"))
    return float(gauc(user_auc(scores[known], corpus.test.label("click")[known], corpus.test.user_id[known])))


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


def test_towers_that_go_on_keep_the_space_and_cold_ones_do_not(corpus: Corpus, alignment: Alignment) -> None:
    content = corpus.content[CONTENT]
    previous = WarmStart(alignment, corpus.users, corpus.authors)
    warm, report = train_alignment(corpus, content, CONFIG, warm_start=previous)
    cold, _ = train_alignment(corpus, content, replace(CONFIG, seed=5))
    before, after, anew = (item_vectors(one, corpus, content)[1:] for one in (alignment, warm, cold))
    assert report.warm_started
    assert report.check is None
    assert len(report.losses) == CONFIG.warm_epochs
    assert (before * after).sum(1).mean() > 0.97
    assert (before * anew).sum(1).mean() < 0.5
    assert within_users(warm, corpus, content) > within_users(alignment, corpus, content) - 0.01


def test_a_known_id_keeps_its_row_and_a_new_one_has_its_own(corpus: Corpus, alignment: Alignment) -> None:
    grown = replace(corpus, users=Vocabulary(np.sort(np.r_[corpus.users.ids[3:], 10**9])))
    previous = WarmStart(alignment, corpus.users, corpus.authors)
    network = TwoTower(alignment.sizes._replace(users=grown.users.size), CONFIG, alignment.history_length, "learned")
    fresh = network.users.user.weight[-1].detach().clone()
    previous.apply_to(network, grown)
    theirs, ours = alignment.network.users.user.weight, network.users.user.weight
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1:-1], theirs[4:])
    assert torch.equal(ours[-1], fresh)
    assert torch.equal(network.rooms.author.weight, alignment.network.rooms.author.weight)


def test_towers_of_the_version_before_trust_are_read_and_gone_on_from(
    corpus: Corpus, alignment: Alignment, tmp_path: Path
) -> None:
    trusting = copy.deepcopy(alignment)
    trusting.network.rooms.author_trust.fill_(1.0)
    trusting.save(path := tmp_path / "alignment.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()[METADATA])
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != "rooms.author_trust"}  # noqa: SIM118
    metadata["format"], metadata["config"]["check_share"] = "livealign-alignment-2", 0.1
    del metadata["config"]["check"]
    save_file(tensors, path, {METADATA: json.dumps(metadata)})
    loaded = Alignment.load(path)
    content = corpus.content[CONTENT]
    assert (item_vectors(loaded, corpus, content) == item_vectors(trusting, corpus, content)).all()
    previous = WarmStart(loaded, corpus.users, corpus.authors)
    assert previous.fits(CONFIG, alignment.sizes.sources, alignment.history_length)


def test_towers_of_the_version_with_one_trust_for_all_sources_are_read_and_continued_from(
    corpus: Corpus, alignment: Alignment, tmp_path: Path
) -> None:
    alignment.save(path := tmp_path / "alignment.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()[METADATA])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["rooms.author_trust"] = tensors["rooms.author_trust"][:, 0].contiguous()
    metadata["format"] = "livealign-alignment-3"
    for part, name in (("sizes", "unused"), ("config", "sources"), ("config", "source_dropout")):
        del metadata[part][name]
    save_file(tensors, path, {METADATA: json.dumps(metadata)})
    loaded = Alignment.load(path)
    content = corpus.content[CONTENT]
    assert (item_vectors(loaded, corpus, content) == item_vectors(alignment, corpus, content)).all()
    previous = WarmStart(loaded, corpus.users, corpus.authors)
    widths = alignment.sizes.sources
    assert previous.fits(CONFIG, widths, alignment.history_length)
    assert not previous.fits(replace(CONFIG, sources=("llm", "lexical")), (*widths, 8), alignment.history_length)


def test_trust_goes_on_with_the_towers_and_a_new_author_has_that_in_an_unknown_one(
    corpus: Corpus, alignment: Alignment
) -> None:
    trusting = copy.deepcopy(alignment)
    with torch.no_grad():
        trusting.network.rooms.author_trust.copy_(torch.linspace(0.2, 0.9, corpus.authors.size).unsqueeze(1))
    grown = replace(corpus, authors=Vocabulary(np.sort(np.r_[corpus.authors.ids[1:], 10**9])))
    network = TwoTower(alignment.sizes._replace(authors=grown.authors.size), CONFIG, alignment.history_length, "learned")
    WarmStart(trusting, corpus.users, corpus.authors).apply_to(network, grown)
    theirs, ours = trusting.network.rooms.author_trust, network.rooms.author_trust
    assert torch.equal(ours[1:-1], theirs[2:])
    assert ours[0] == ours[-1] == theirs[0]


def test_a_gate_lets_no_more_through_than_its_author_is_trusted_with(corpus: Corpus, alignment: Alignment) -> None:
    content, author = corpus.content[CONTENT], corpus.segment_author
    fully, half, not_at_all = (copy.deepcopy(alignment) for _ in range(3))
    for towers, trust in ((fully, 1.0), (half, 0.5), (not_at_all, 0.0)):
        towers.network.rooms.author_trust.fill_(trust)
    assert np.allclose(1 - half.gates(author, content), 0.5 * (1 - fully.gates(author, content)), atol=1e-6)
    by_id = fully.room_vectors(author, np.zeros_like(content))
    assert np.allclose(not_at_all.room_vectors(author, content), by_id, atol=1e-6)


@pytest.mark.parametrize("other", [{"dim": 8}, {"gate_bias": 0.0}, {"content_rank": 4}])
def test_towers_of_other_settings_are_not_gone_on_from(corpus: Corpus, alignment: Alignment, other: dict[str, float]) -> None:
    previous = WarmStart(alignment, corpus.users, corpus.authors)
    _, report = train_alignment(corpus, corpus.content[CONTENT], replace(CONFIG, epochs=1, **other), warm_start=previous)
    assert not report.warm_started


def test_saved_towers_come_back_as_they_were(corpus: Corpus, alignment: Alignment, tmp_path: Path) -> None:
    path = tmp_path / "alignment.safetensors"
    alignment.save(path)
    loaded = Alignment.load(path)
    vectors = item_vectors(alignment, corpus, corpus.content[CONTENT])
    assert (item_vectors(loaded, corpus, corpus.content[CONTENT]) == vectors).all()
    assert (loaded.scores(corpus.test, vectors) == alignment.scores(corpus.test, vectors)).all()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleError, match=r"alignment\.safetensors"):
        Alignment.load(path)
    with pytest.raises(BundleError, match="nowhere"):
        Alignment.load(tmp_path / "nowhere.safetensors")


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


class _FirstBatchError(Exception):
    """Ends a training whose first batch has been looked at."""


def first_batch(monkeypatch: pytest.MonkeyPatch, corpus: Corpus, config: AlignmentConfig) -> SimpleNamespace:
    """The first batch of a training: its `loss`, the `softmax`'s arguments, and what `_batch_loss` was given."""
    seen = SimpleNamespace()
    batch_loss, softmax = training._batch_loss, training.in_batch_softmax

    def looked_at(network: TwoTower, tables: ImpressionTensors, rows: Tensor, *rest: Any) -> Tensor:
        seen.network, seen.tables, seen.rows, seen.log_q = network, tables, rows, rest[3]
        seen.loss = batch_loss(network, tables, rows, *rest).item()
        raise _FirstBatchError

    def remembered(*arguments: Tensor) -> Tensor:
        seen.softmax = arguments
        return softmax(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_batch_loss", looked_at)
        patch.setattr(training, "in_batch_softmax", remembered)
        with pytest.raises(_FirstBatchError):
            train_alignment(corpus, corpus.content[CONTENT], replace(config, check=False))
    return seen


def test_negatives_are_other_users_rooms_of_that_time_and_hidden_authors_keep_their_share(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = first_batch(monkeypatch, corpus, replace(CONFIG, id_dropout=0.5, negative_minutes=30))
    similarity, temperature, log_q, same_user, same_room, same_time = seen.softmax
    rows = seen.rows[seen.tables.click[seen.rows] == 1]
    user, room, at = (getattr(seen.tables, name)[rows].numpy() for name in ("user", "room", "shown_at"))
    assert (same_user.numpy() == (user[:, None] == user)).all()
    assert (same_room.numpy() == (room[:, None] == room)).all()
    assert (same_time.numpy() == (abs(at[:, None] - at) <= 30 * 60_000)).all()
    for mask in (same_user, same_room, same_time):
        assert len(rows) < mask.sum() < len(rows) ** 2, "some pairs are the same, and some are not"
    assert torch.equal(log_q, seen.log_q[seen.tables.author[rows]])
    assert torch.equal(temperature, seen.network.temperature)
    (of_ids,) = torch.autograd.grad(similarity.square().sum(), seen.network.users.user.weight)
    assert of_ids.abs().max() < 1e-5, "the user's ID does not learn the clicks by heart"


@pytest.mark.parametrize("prior", ["user_l2", "author_l2"])
def test_the_prior_on_ids_is_part_of_the_loss(prior: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    free, held = (first_batch(monkeypatch, corpus, replace(CONFIG, **{prior: weight})).loss for weight in (0.0, 100.0))
    assert held > free + 0.01

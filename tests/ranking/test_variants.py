"""What each variant is given, and that the order of the variants is that of the planted truth."""

from dataclasses import replace

import numpy as np
import pytest

from livealign.config import AlignmentConfig, CodesConfig, DatasetConfig, RankerConfig
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.dataset.examples import TASKS
from livealign.errors import TrainingError
from livealign.metrics import gauc, user_auc
from livealign.profiles import load_profile
from livealign.ranking.variants import (
    OF_FRAMES,
    VARIANTS,
    TrainedVariant,
    popularity_rates,
    shuffled_rows,
    source_pairs,
    train_variant,
    variant_content,
)
from tests.planted.marts import Planted, plant_marts

PROFILE = replace(
    load_profile("tiny"),
    alignment=AlignmentConfig(sources=("llm",), dim=16, hidden=32, epochs=8, batch_size=256, content_rank=16),
    codes=CodesConfig(levels=2, codes_per_level=8, iterations=15, restarts=2),
    ranker=RankerConfig(id_dim=4, code_dim=8, hidden=(16,), epochs=4, batch_size=256, learning_rate=5e-3),
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    marts = tmp_path_factory.mktemp("marts")
    return plant_marts(marts, 120, 16, 4, days=5, requests_per_day=400, noise=0.1, taste_scale=1.8, base_logit=-1.2)


@pytest.fixture(scope="module")
def corpus(planted: Planted) -> Corpus:
    # The check of content is a coin's throw where it gains as little as its standard error; here it gains three times that.
    corpus = load_corpus(planted.marts, planted.days[-1], DatasetConfig(history_length=10, half_life_seconds=40))
    for name in ("raw_llm", "tuned_llm"):
        corpus = corpus.with_content(name, planted.segment_ids, planted.vectors)
    return corpus


@pytest.fixture(scope="module")
def trained(corpus: Corpus) -> dict[str, TrainedVariant]:
    names = ("popularity", "id_only", "raw_llm", "aligned", "aligned_codes", "static_room", "shuffled")
    return {name: train_variant(name, corpus, PROFILE) for name in names}


@pytest.fixture(scope="module")
def measured(corpus: Corpus, planted: Planted, trained: dict[str, TrainedVariant]) -> dict[str, float]:
    """GAUC on click of each variant and of both oracles."""
    label = corpus.test.label("click")
    known = ~np.isnan(label)
    scores = {name: variant.score(corpus.test)[:, 0] for name, variant in trained.items()}
    scores["oracle"], scores["oracle_static"] = planted.truth(corpus.test.impression_id)
    return {name: float(gauc(user_auc(s[known], label[known], corpus.test.user_id[known]))) for name, s in scores.items()}


def test_the_full_method_closes_half_the_gap_between_the_oracles(measured: dict[str, float]) -> None:
    assert measured["aligned_codes"] - measured["id_only"] >= 0.5 * (measured["oracle"] - measured["oracle_static"])
    assert measured["id_only"] <= measured["oracle_static"] + 0.01  # ids cannot know the moment


def test_content_that_tells_nothing_costs_the_ranker_nothing(corpus: Corpus, trained: dict[str, TrainedVariant]) -> None:
    """The promise of the gate: `aligned` is never more than 0.002 UAUC below `id_only`. Here it is the same to the bit."""
    noise = np.random.default_rng(0).normal(size=corpus.content["tuned_llm"].shape).astype(np.float32)
    noise[0] = 0
    aligned = train_variant("aligned", replace(corpus, content={"tuned_llm": noise}), PROFILE)
    assert aligned.alignment_report is not None
    assert aligned.alignment_report.gate_mode == "id"
    assert (aligned.score(corpus.test) == trained["id_only"].score(corpus.test)).all()


def test_content_counts_only_where_it_is_of_the_moment(measured: dict[str, float]) -> None:
    assert measured["shuffled"] < measured["id_only"] + 0.03
    assert measured["static_room"] < measured["aligned_codes"] - 0.04


def test_scores_are_probabilities_of_all_tasks(corpus: Corpus, trained: dict[str, TrainedVariant]) -> None:
    for variant in trained.values():
        scores = variant.score(corpus.test)
        assert scores.shape == (len(corpus.test), len(TASKS))
        assert ((scores > 0) & (scores < 1)).all()


def test_the_full_method_hands_over_all_parts_of_a_release(trained: dict[str, TrainedVariant]) -> None:
    full = trained["aligned_codes"]
    assert full.alignment is not None
    assert full.codebook is not None
    assert full.ranker is not None
    assert full.ranker.codebook_version == full.codebook.version
    assert full.items.vectors is not None
    assert full.items.codes is not None
    assert (full.codebook.encode(full.items.vectors) == full.items.codes).all()


def test_popularity_is_the_authors_smoothed_rate(corpus: Corpus) -> None:
    rates, click = popularity_rates(corpus), corpus.train.label("click")
    author = int(np.bincount(corpus.train.author).argmax())
    mine = corpus.train.author == author
    assert rates[author, 0] == pytest.approx((click[mine].sum() + 50 * click.mean()) / (mine.sum() + 50), rel=1e-5)
    assert rates[0, 0] == pytest.approx(click.mean(), rel=1e-5)


def test_shuffled_content_is_of_the_same_author_and_never_of_the_held_out_day(corpus: Corpus) -> None:
    rows = shuffled_rows(corpus, seed=1)
    assert rows[0] == 0
    assert corpus.segment_is_train[rows[1:]].all()
    known = np.isin(corpus.segment_author_id, corpus.segment_author_id[corpus.segment_is_train])
    assert (corpus.segment_author_id[rows] == corpus.segment_author_id)[known].all()
    train = np.flatnonzero(corpus.segment_is_train)
    assert (np.sort(rows[train]) == train).all()
    assert (rows != np.arange(len(rows))).mean() > 0.9


def test_of_an_author_without_training_the_shuffled_content_is_anybodys(corpus: Corpus) -> None:
    newcomer = corpus.segment_author_id[~corpus.segment_is_train][1]
    is_train = corpus.segment_is_train & (corpus.segment_author_id != newcomer)
    rows = shuffled_rows(replace(corpus, segment_is_train=is_train), seed=1)
    given = corpus.segment_author_id[rows[corpus.segment_author_id == newcomer]]
    assert newcomer not in given
    assert len(np.unique(given)) > 1


def test_a_static_room_keeps_its_first_moment(corpus: Corpus) -> None:
    begun = corpus.segment_started_at[1:].min()
    started = ((corpus.segment_started_at - begun) / 30_000).astype(np.float32)[:, None]  # in windows: exact in float32
    frozen = variant_content("static_room", corpus, started, seed=1)[:, 0]
    for room in np.unique(corpus.segment_room_id[1:]):
        mine = corpus.segment_room_id == room
        assert (frozen[mine] == started[mine].min()).all()


def test_what_is_not_there_is_named(corpus: Corpus) -> None:
    with pytest.raises(TrainingError, match="no variant 'magic'"):
        train_variant("magic", corpus, PROFILE)
    with pytest.raises(TrainingError, match="no content 'tfidf'"):
        train_variant("tfidf", corpus, PROFILE)
    tuned_alone = replace(corpus, content={"tuned_llm": corpus.content["tuned_llm"]})
    with pytest.raises(TrainingError, match="no content 'raw_llm'"):
        train_variant("raw_codes", tuned_alone, PROFILE)
    assert len(set(VARIANTS)) == len(VARIANTS)


def test_what_a_source_adds_is_the_method_with_it_against_the_method_without_it() -> None:
    assert source_pairs(("llm", "lexical")) == {
        "llm": ("aligned_codes", "lexical_codes"),
        "lexical": ("aligned_codes", "llm_codes"),
    }
    assert source_pairs(("llm",)) == {
        "llm": ("llm_lexical_codes", "lexical_codes"),
        "lexical": ("llm_lexical_codes", "aligned_codes"),
    }
    assert source_pairs(("lexical",))["llm"] == ("llm_lexical_codes", "aligned_codes")
    assert source_pairs(("llm", "lexical", "frames")) == {"frames": ("aligned_codes", "text_only")}
    assert source_pairs(("frames",)) == {}


def test_variants_of_single_sources_are_trained_on_that_content_alone(corpus: Corpus) -> None:
    short = replace(PROFILE, alignment=replace(PROFILE.alignment, epochs=1, check=False))
    world = replace(corpus, content={**corpus.content, "lexical": corpus.content["raw_llm"][:, :5]})
    widths = {
        name: train_variant(name, world, short).alignment.sizes.sources
        for name in ("llm_codes", "lexical_codes", "llm_lexical_codes")
    }
    assert widths == {"llm_codes": (24,), "lexical_codes": (5,), "llm_lexical_codes": (24, 5)}


def test_variants_of_pictures_read_texts_and_pictures_as_their_names_say(corpus: Corpus) -> None:
    sources = ("frames", "llm")  # pictures come last, whatever their place in the setting
    short = replace(PROFILE, alignment=replace(PROFILE.alignment, sources=sources, epochs=1, check=False))
    world = replace(corpus, content={**corpus.content, "frames": corpus.content["raw_llm"][:, :5]})
    trained = {name: train_variant(name, world, short) for name in OF_FRAMES}
    assert {name: variant.alignment.sizes.sources for name, variant in trained.items()} == {
        "text_only": (24,),
        "frames_only": (5,),
        "text_frames": (24, 5),
        "frames_shuffled": (24, 5),
    }
    apart, mixed = trained["text_frames"].content, trained["frames_shuffled"].content
    np.testing.assert_array_equal(apart[:, :24], mixed[:, :24])
    np.testing.assert_array_equal(apart[shuffled_rows(world, short.ranker.seed), 24:], mixed[:, 24:])
    assert (apart[:, 24:] != mixed[:, 24:]).any(1).mean() > 0.5
    np.testing.assert_array_equal(train_variant("aligned_codes", world, short).content, apart)

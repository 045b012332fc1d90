"""The corpus against a plain reading of the same marts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from livealign.config import DatasetConfig
from livealign.dataset.corpus import Corpus, load_corpus, referenced_segments
from livealign.dataset.examples import TASKS, serving_examples
from livealign.dataset.features import FEATURES, feature_matrix
from livealign.days import DAY_MS, end_of, partition
from livealign.errors import MartError, TrainingError
from tests.planted.marts import Planted, plant_marts

CONFIG = DatasetConfig(train_days=7, history_length=6)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant_marts(tmp_path_factory.mktemp("marts"), users=60, authors=12, days=3, requests_per_day=80)


@pytest.fixture(scope="module")
def corpus(planted: Planted) -> Corpus:
    return load_corpus(planted.marts, planted.days[-1], CONFIG)


def rows_of(planted: Planted, mart: str, day: int) -> list[dict]:
    return pq.ParquetFile(partition(planted.marts, mart, planted.days[day])).read().to_pylist()


def test_training_ends_before_the_held_out_day_and_no_impression_is_lost(planted: Planted, corpus: Corpus) -> None:
    train = {row["impression_id"] for day in (0, 1) for row in rows_of(planted, "interactions", day)}
    assert set(corpus.train.impression_id.tolist()) == train
    assert len(corpus.train) == len(train)
    assert {row["impression_id"] for row in rows_of(planted, "interactions", 2)} == set(corpus.test.impression_id.tolist())
    assert corpus.train.shown_at.max() < corpus.test.shown_at.min()
    assert (np.diff(corpus.train.shown_at) >= 0).all()


def test_ids_that_only_the_held_out_day_has_are_unknown(corpus: Corpus) -> None:
    for ids, index, seen in (
        (corpus.test.user_id, corpus.test.user, corpus.train.user_id),
        (corpus.test.author_id, corpus.test.author, corpus.train.author_id),
    ):
        assert ((index == 0) == ~np.isin(ids, seen)).all()
    assert (corpus.users.lookup(np.array([-1])) == 0).all()


def test_histories_are_the_clicks_known_strictly_before_newest_first_and_cut_to_length(
    planted: Planted, corpus: Corpus
) -> None:
    shown = [row for day in (0, 1, 2) for row in rows_of(planted, "interactions", day)]
    checked = 0
    for examples in (corpus.train, corpus.test):
        for row in range(0, len(examples), 7):
            wanted = slow_history(shown, int(examples.user_id[row]), int(examples.shown_at[row]))[:6]
            n = len(wanted)
            authors, segments = [one["author_id"] for one in wanted], [one["segment_id"] or 0 for one in wanted]
            assert examples.history_length[row] == n
            assert examples.history_author[row, :n].tolist() == corpus.authors.lookup(np.array(authors, dtype=int)).tolist()
            assert corpus.segment_ids[examples.history_segment[row, :n]].tolist() == segments
            assert not examples.history_item[row, n:].any()
            checked += n
    assert checked > 100


def slow_history(shown: list[dict], user_id: int, at: int) -> list[dict]:
    """The rows of `shown` that the user had clicked, and that was known, strictly before `at`; newest first."""
    mine = [row for row in shown if row["user_id"] == user_id and row["click"] and milliseconds(row["click_known_at"]) < at]
    return sorted(mine, key=lambda row: (row["click_known_at"], row["impression_id"]), reverse=True)


def milliseconds(time: datetime) -> int:
    return round(time.replace(tzinfo=UTC).timestamp() * 1_000)


def test_a_room_without_an_ended_window_is_its_author(corpus: Corpus) -> None:
    bare = corpus.train.segment == 0
    assert bare.any()
    assert (corpus.train.item[~bare] == corpus.train.segment[~bare]).all()
    assert (corpus.item_authors()[corpus.train.item] == corpus.train.author).all()
    assert (corpus.item_segments()[corpus.train.item] == corpus.train.segment).all()
    assert corpus.train.item.max() < corpus.n_items


def test_features_are_those_of_the_window_and_of_the_days_before(planted: Planted, corpus: Corpus) -> None:
    segments = {row["segment_id"]: row for row in rows_of(planted, "segments", 2)}
    authors = {row["author_id"]: row for row in rows_of(planted, "authors_daily", 2)}
    base, shown, outcomes = corpus.base_rates["click"], rows_of(planted, "interactions", 2), 0
    for row in np.flatnonzero(corpus.test.segment > 0)[::9]:
        features = dict(zip(FEATURES, corpus.test.features[row], strict=True))
        window = segments[int(corpus.segment_ids[corpus.test.segment[row]])]
        counts = authors[int(corpus.test.author_id[row])]
        assert features["viewers"] == pytest.approx(np.log1p(window["n_viewers"]))
        assert features["retention"] == pytest.approx(window["retention"])
        assert features["author_click_rate"] == pytest.approx((counts["clicks"] + 20 * base) / (counts["impressions"] + 20))
        room = [one for one in shown if one["room_id"] == corpus.test.room_id[row]]
        begins = corpus.test.shown_at[row] // 30_000 * 30_000
        known = [one["click"] for one in room if milliseconds(one["click_known_at"]) < begins]
        assert features["room_impressions"] == pytest.approx(np.log1p(len(known)))
        assert features["room_click_rate"] == pytest.approx((sum(known) + 20 * base) / (len(known) + 20))
        outcomes += len(known)
    assert outcomes > 100


def test_what_was_not_known_at_the_end_of_training_is_not_a_label(planted: Planted, tmp_path: Path) -> None:
    marts = copied(planted, tmp_path)
    path = partition(marts, "interactions", planted.days[1])
    table = pq.ParquetFile(path).read()
    late = pc.add(table["shown_at"].cast(pa.int64()), DAY_MS).cast(pa.timestamp("ms"))
    for name in ("gift_known_at", "long_view_known_at"):
        table = table.set_column(table.column_names.index(name), name, late)
    table = table.set_column(table.column_names.index("like"), "like", pa.nulls(table.num_rows, pa.int8()))
    pq.write_table(table, path)
    corpus = load_corpus(marts, planted.days[-1], CONFIG)
    train = corpus.train
    second = np.isin(train.impression_id, table["impression_id"].to_numpy())
    assert np.isnan(train.label("gift")[second]).all()
    assert np.isnan(train.label("like")[second]).all()
    assert not np.isnan(train.label("gift")[~second]).any()
    assert not np.isnan(train.label("click")).any()
    first = train.label("long_view")[~second]
    assert first.mean() > 0
    assert corpus.base_rates["long_view"] == pytest.approx(float(first.mean()), abs=1e-6)


def test_what_was_not_known_at_the_end_of_the_held_out_day_is_not_judged(planted: Planted, tmp_path: Path) -> None:
    marts = copied(planted, tmp_path)
    path = partition(marts, "interactions", planted.days[-1])
    table = pq.ParquetFile(path).read()
    next_day = pc.add(pa.scalar(end_of(planted.days[-1])), pa.array(np.full(table.num_rows, 60_000))).cast(pa.timestamp("ms"))
    table = table.set_column(table.column_names.index("gift_known_at"), "gift_known_at", next_day)
    pq.write_table(table, path)
    test = load_corpus(marts, planted.days[-1], CONFIG).test
    assert np.isnan(test.label("gift")).all()
    assert not np.isnan(test.label("click")).any()


def test_segments_to_embed_are_known_before_there_is_any_content(planted: Planted, corpus: Corpus) -> None:
    assert referenced_segments(planted.marts, planted.days[-1], CONFIG).tolist() == corpus.segment_ids[1:].tolist()
    first = corpus.segment_started_at[corpus.segment_first[1:]]
    assert (first <= corpus.segment_started_at[1:]).all()
    assert (corpus.segment_room_id[corpus.segment_first] == corpus.segment_room_id).all()


def test_content_goes_to_the_row_of_its_segment_and_the_rest_is_zero(planted: Planted, corpus: Corpus) -> None:
    half = planted.segment_ids[::2]
    content = corpus.with_content("raw_llm", half, planted.vectors[::2]).content["raw_llm"]
    row = int(corpus.segment_rows(half[np.isin(half, corpus.segment_ids)][:1])[0])
    assert row > 0
    assert (content[row] == planted.vectors[planted.segment_ids == corpus.segment_ids[row]][0]).all()
    assert not content[~np.isin(corpus.segment_ids, half)].any()


def test_impressions_of_one_list_share_a_request(planted: Planted, corpus: Corpus) -> None:
    names = {row["impression_id"]: row["request_id"] for row in rows_of(planted, "interactions", 2)}
    by_name: dict[str, set[int]] = {}
    for impression, request in zip(corpus.test.impression_id.tolist(), corpus.test.request.tolist(), strict=True):
        by_name.setdefault(names[impression], set()).add(request)
    assert all(len(requests) == 1 for requests in by_name.values())
    assert len(set().union(*by_name.values())) == len(by_name)


def test_an_impression_takes_at_most_280_bytes_with_twenty_engagements(planted: Planted) -> None:
    corpus = load_corpus(planted.marts, planted.days[-1], replace(CONFIG, history_length=20))
    assert len(corpus.train) > 500
    assert corpus.train.nbytes / len(corpus.train) <= 280
    engaged = sum(column.nbytes for column in corpus.train.engaged)
    assert engaged < 24 * (len(corpus.train) + 1)  # each engagement once, however many histories it is in
    assert corpus.train.take(slice(0, 10)).nbytes == 10 * corpus.train.nbytes // len(corpus.train)


def test_serving_sees_the_same_features_as_training(corpus: Corpus) -> None:
    columns = {"minute_in_room": np.array([3.0, 4.0]), "n_viewers": np.array([20, np.nan]), "user_clicks": np.array([2, 2])}
    online = serving_examples(
        *(corpus.users, corpus.authors, corpus.base_rates, int(corpus.users.ids[3]), np.array([1, 2])),
        *(corpus.authors.ids[[0, 1]], 1_000, columns, corpus.authors.ids[[4, 5, 6]], 6),
    )
    assert online.features.tobytes() == feature_matrix(columns, corpus.base_rates, 2).tobytes()
    assert online.user.tolist() == [4, 4]
    assert online.item.tolist() == [1, 2]
    assert online.history_item.tolist() == [[3, 4, 5, 0, 0, 0]]  # once, for both rooms
    assert len(online.history_length) == 1
    assert online.history_author[0, :3].tolist() == [5, 6, 7]
    assert np.isnan(online.labels).all()


def test_a_missing_or_damaged_mart_names_the_file(planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to train on"):
        load_corpus(planted.marts, planted.days[0], CONFIG)
    with pytest.raises(MartError, match="interactions/dt=2025-03-04"):
        load_corpus(planted.marts, planted.days[-1] + timedelta(days=1), CONFIG)
    marts = copied(planted, tmp_path)
    broken = partition(marts, "segments", planted.days[0])
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(MartError, match=f"segments/dt={planted.days[0]}"):
        load_corpus(marts, planted.days[-1], CONFIG)


def test_base_rates_are_the_training_shares(corpus: Corpus) -> None:
    assert set(corpus.base_rates) == set(TASKS)
    assert corpus.base_rates["click"] == pytest.approx(float(corpus.train.label("click").mean()), abs=1e-6)


def copied(planted: Planted, folder: Path) -> Path:
    for path in planted.marts.glob("*/*/*.parquet"):
        target = folder / path.relative_to(planted.marts)
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("train_days", [1, 2])
def test_the_training_window_is_that_many_days_before_the_held_out_day(train_days: int, planted: Planted) -> None:
    *before, day = planted.days
    window, config = tuple(before[-train_days:]), replace(CONFIG, train_days=train_days)
    corpus = load_corpus(planted.marts, day, config)
    assert corpus.train_days == window
    shown = {row["impression_id"] for one in window for row in rows_of(planted, "interactions", planted.days.index(one))}
    assert set(corpus.train.impression_id.tolist()) == shown
    assert referenced_segments(planted.marts, day, config).tolist() == corpus.segment_ids[1:].tolist()

"""Which pairs of texts the LLM is tuned on, and which descriptions it learns."""

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from livealign.errors import TrainingError
from livealign.tuning.descriptions import choose_descriptions, read_captions
from livealign.tuning.pairs import NO_USER, choose_pairs
from tests.planted.text_pairs import CONFIG, SEGMENTS, planted_marts


def test_a_teachers_captions_take_the_place_of_category_and_title(tmp_path):
    segments, _ = planted_marts()
    (tmp_path / "captions.csv").write_text("segment_id,caption\n0,he adds salt\n1,\n")
    chosen = choose_descriptions(segments, SEGMENTS, CONFIG, read_captions(tmp_path / "captions.csv"))
    assert list(chosen.descriptions).count("he adds salt") == 1
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TrainingError, match="segment_id and caption"):
        read_captions(tmp_path / "other.csv")


def test_engagement_pairs_join_what_one_user_watched_in_different_rooms():
    config = replace(CONFIG, engagement_share=1.0, neighbour_share=0.0, steps=1, batch_size=1_000)
    pairs = choose_pairs(*planted_marts(), SEGMENTS, config)
    engaged = pairs.take(np.flatnonzero(pairs.user != NO_USER))
    assert len(engaged) > 0
    assert np.all(engaged.left_room != engaged.right_room)
    assert np.all(engaged.left_room % 4 == engaged.right_room % 4)
    assert 77 not in engaged.user


def test_other_pairs_stay_in_their_room_and_never_show_the_title_on_both_sides():
    config = replace(CONFIG, engagement_share=0.0, neighbour_share=0.5, steps=10)
    pairs = choose_pairs(*planted_marts(), SEGMENTS, config)
    assert len(pairs) == math.ceil(10 * 16 / 0.8)
    np.testing.assert_array_equal(pairs.left_room, pairs.right_room)
    assert np.abs(pairs.left_window - pairs.right_window).max() <= config.neighbour_windows
    assert len(np.unique(pairs.left_window - pairs.right_window)) > 1
    assert not any("title of" in left and "title of" in right for left, right in zip(pairs.left, pairs.right, strict=True))


def test_no_pair_joins_the_last_day_with_the_days_before_in_rooms_that_go_on_past_midnight():
    segments, interactions = planted_marts()
    midnight = 86_400 // SEGMENTS.window_seconds
    place = segments.column_names.index("window")
    segments = segments.set_column(place, "window", pc.add(segments["window"], midnight - 60))  # the tenth window of each room
    pairs = choose_pairs(segments, interactions, SEGMENTS, replace(CONFIG, engagement_share=0.0, neighbour_share=0.8))
    late = pairs.left_window >= midnight
    assert (late == (pairs.right_window >= midnight)).all()
    assert 0 < late.sum() < len(pairs)
    assert (pairs.left_window != pairs.right_window).any()


def test_pairs_are_the_same_for_the_same_seed():
    marts = planted_marts()
    first, second, other = (choose_pairs(*marts, SEGMENTS, CONFIG, seed).left for seed in (1, 1, 2))
    assert first == second != other


def test_segments_without_words_or_viewers_are_an_error():
    segments, interactions = planted_marts()
    silent = segments
    for name in ("title", "speech_text", "chat_text"):
        silent = silent.set_column(silent.schema.get_field_index(name), name, pa.nulls(len(silent), pa.string()))
    with pytest.raises(TrainingError, match="more days"):
        choose_pairs(silent, interactions.slice(0, 0), SEGMENTS, CONFIG)
    with pytest.raises(TrainingError, match="more days"):
        choose_pairs(segments.slice(0, 0), interactions.slice(0, 0), SEGMENTS, CONFIG)


def test_a_single_window_has_no_neighbours_but_its_views():
    segments, interactions = planted_marts()
    pairs = choose_pairs(segments.slice(0, 1), interactions.slice(0, 0), SEGMENTS, CONFIG)
    assert len(pairs) == 1
    assert pairs.left[0] != pairs.right[0]

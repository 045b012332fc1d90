"""The share of new words: counted by hand, equal to plain sets, quiet without a planted change."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.days import partition
from livealign.operation_config import DriftConfig
from orchestration.drift import words as drift_words
from orchestration.drift.chance import RoomPermutations
from orchestration.drift.columns import DriftError
from orchestration.drift.report import DriftSide, drift_report
from orchestration.drift.words import room_words, words_test

CONFIG = DriftConfig(permutations=500)
DAY = date(2025, 3, 1)
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


def spell(number: int) -> str:
    """A word of letters alone for each number."""
    return "".join(LETTERS[[number // 676 % 26, number // 26 % 26, number % 26]]) + "word"


def write(marts: Path, day: date, texts: dict[int, str | None]) -> Path:
    """One segment a room: the text is said by the host."""
    file = partition(marts, "segments", day)
    file.parent.mkdir(parents=True)
    columns = {"room_id": list(texts), "speech_text": pa.array(texts.values(), pa.string())}
    pq.write_table(pa.table({**columns, "chat_text": pa.nulls(len(texts), pa.string())}), file)
    return marts


def said(marts: Path, day: date, texts: Sequence[str]) -> pd.DataFrame:
    return room_words(write(marts, day, dict(enumerate(texts, day.toordinal() * 1_000))), [day], CONFIG)


def rooms(rng: np.random.Generator, n_rooms: int, own: int, new: float = 0.0) -> list[str]:
    """Texts of rooms with a topic each, some words that no other room has, and a share of words of a topic of its own."""
    texts = []
    for _ in range(n_rooms):
        topic = 100 * rng.integers(1, 8) + rng.integers(0, 40, 60)
        names = rng.integers(2_000, 17_000, own)
        unheard = np.where(rng.random(60) < new * (rng.random() < 0.4), rng.integers(1_800, 1_820, 60), topic)
        texts.append(" ".join(spell(int(one)) for one in (*unheard, *names)))
    return texts


def test_the_share_is_the_mean_over_rooms_of_their_words_that_no_room_of_the_reference_says(tmp_path: Path) -> None:
    reference = said(tmp_path, DAY, ["alpha beta", "alpha"])
    current = said(tmp_path, DAY + timedelta(days=1), ["alpha gamma", "beta Beta delta beta alpha zeta", "alpha 2024 gg"])
    test = words_test(reference, current, CONFIG)
    assert test.score == pytest.approx((1 / 2 + 2 / 4 + 0) / 3)
    assert test.examples == ("gamma", "delta", "zeta")
    assert test.threshold == 1.0, "two rooms say nothing of what chance shows"


def test_words_of_any_script_are_read_and_what_is_no_word_is_not(tmp_path: Path) -> None:
    text = "Привет, señor! مرحبا 吃鸡狙击枪 gg 2024 :heart: no"
    assert sorted(said(tmp_path, DAY, [text])["word"]) == sorted(["привет", "señor", "مرحبا", "吃鸡", "狙击", "heart"])


def test_permuted_shares_are_those_of_plain_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    reference = said(tmp_path, DAY, rooms(rng, 9, own=3))
    current = said(tmp_path, DAY + timedelta(days=1), rooms(rng, 5, own=3))
    every = pd.concat([reference.astype({"word": str}), current.astype({"word": str})], ignore_index=True)
    unit = pd.factorize(every["room_id"])[0]
    chance = RoomPermutations.of(unit[: len(reference)], unit[len(reference) :], CONFIG)
    expected = []
    for label in chance.permuted[:40]:
        known = set(every.loc[label[chance.room] == 1, "word"])
        shares = []
        for room in np.flatnonzero(label == 0):
            mine = every[chance.room == room]
            shares.append((~mine["word"].isin(known)).mean())
        expected.append(np.mean(shares))
    for at_once in (drift_words.CELLS_AT_ONCE, 7):
        monkeypatch.setattr(drift_words, "CELLS_AT_ONCE", at_once)
        cells = drift_words._Cells.of(chance.room, pd.Categorical(every["word"]))
        np.testing.assert_allclose(cells.new_share(chance.permuted[:40]), expected)


def test_planted_new_words_are_found_and_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    days = [DAY + timedelta(days=back) for back in range(4)]
    for number, day in enumerate(days):
        texts = rooms(rng, 30, own=2, new=0.5 if number == 3 else 0.0)
        write(tmp_path, day, dict(enumerate(texts, day.toordinal() * 1_000)))
    test = words_test(room_words(tmp_path, days[:3], CONFIG), room_words(tmp_path, days[3:], CONFIG), CONFIG, tests=20)
    assert test.score > 1.5 * test.threshold
    assert test.p_value < 0.01
    assert set(test.examples) <= {spell(number) for number in range(1_800, 1_820)}


def test_rooms_drawn_alike_stay_quiet_though_each_has_words_of_its_own(tmp_path: Path) -> None:
    alarms, plain = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        folder = tmp_path / str(seed)
        reference = said(folder, DAY, rooms(rng, 60, own=12))
        test = words_test(reference, said(folder, DAY + timedelta(days=1), rooms(rng, 20, own=12)), replace(CONFIG, seed=seed))
        alarms += test.score > test.threshold
        plain += test.score > CONFIG.new_words_threshold  # what a fixed threshold would cry
    assert alarms <= 1
    assert plain == 20


def test_days_that_differ_among_themselves_raise_the_threshold(tmp_path: Path) -> None:
    """Each day has a guest of its own that every room talks about: new words, as on every day before."""
    days = [DAY + timedelta(days=back) for back in range(5)]
    for number, day in enumerate(days):
        text = f"hello everyone welcome {spell(number)}"
        write(tmp_path, day, dict.fromkeys(range(number * 100, number * 100 + 25), text))
    reference, current = (room_words(tmp_path, some, CONFIG) for some in (days[:4], days[4:]))
    test = words_test(reference, current, CONFIG)
    assert test.score == pytest.approx(0.25)
    assert test.threshold == pytest.approx(0.25), "what each day shows against the others"
    careless = words_test(reference, current, replace(CONFIG, quiet_days=99))
    assert careless.score > 2 * careless.threshold


def test_where_each_day_has_new_words_that_stay_only_more_of_them_are_drift(tmp_path: Path) -> None:
    """Some days a new guest appears, whom later days speak of too: against all other days no day has anything new."""
    days = [DAY + timedelta(days=back) for back in range(6)]

    def day_of(number: int, guests: int) -> dict[int, str]:
        appeared = [0, 1, 2, 3, 3, 4][number]  # the fifth day has no guest of its own
        known = " ".join(spell(one) for one in range(appeared + 1))
        fresh = " ".join(spell(1_000 + one) for one in range(guests))
        return dict.fromkeys(range(number * 100, number * 100 + 25), f"hello everyone welcome {known} {fresh}")

    for number, day in enumerate(days):
        write(tmp_path, day, day_of(number, 0))
    reference = room_words(tmp_path, days[:5], CONFIG)
    ordinary = words_test(reference, room_words(tmp_path, days[5:], CONFIG), CONFIG)
    assert 0 < ordinary.score <= ordinary.threshold
    write(tmp_path / "flooded", days[5], day_of(5, 5))
    flooded = words_test(reference, room_words(tmp_path / "flooded", days[5:], CONFIG), CONFIG)
    assert flooded.score > 2 * flooded.threshold


def test_an_empty_side_is_told_as_words_that_came_or_went(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    silent = room_words(write(tmp_path / "silent", DAY, dict.fromkeys(range(10), None)), [DAY], CONFIG)
    assert silent.empty
    talking = said(tmp_path / "talking", DAY, rooms(rng, 10, own=1))
    frame = pd.DataFrame({"dt": str(DAY), "room_id": np.arange(200) % 10, "click": rng.integers(0, 2, 200)})
    for reference, current, method in ((silent, talking, "appeared"), (talking, silent, "disappeared")):
        result = drift_report(DriftSide(frame, reference), DriftSide(frame, current), CONFIG, tmp_path)
        assert result.columns["new_words"].method == method
        assert result.content_drifted
    assert "new_words" not in drift_report(DriftSide(frame, silent), DriftSide(frame, silent), CONFIG, tmp_path).columns


def test_rooms_are_sampled_evenly_over_days_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    days = [DAY, DAY + timedelta(days=1)]
    for day in days:
        write(tmp_path, day, dict(enumerate(rooms(rng, 30, own=0), day.toordinal() * 1_000)))
    small = replace(CONFIG, word_rooms=20)
    words = room_words(tmp_path, days, small)
    assert words.groupby("dt")["room_id"].nunique().to_dict() == {str(day): 10 for day in days}
    pd.testing.assert_frame_equal(words, room_words(tmp_path, days, small))
    assert set(words["room_id"]) != set(room_words(tmp_path, days, replace(small, seed=1))["room_id"])


def test_missing_segments_are_named(tmp_path: Path) -> None:
    with pytest.raises(DriftError, match=r"segments/dt=2025-03-01.*materialize"):
        room_words(tmp_path, [DAY], CONFIG)


def test_of_more_tests_each_needs_a_higher_score(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    before, now = said(tmp_path, DAY, rooms(rng, 20, own=12)), said(tmp_path, DAY + timedelta(days=1), rooms(rng, 20, own=12))
    alone, shared = (words_test(before, now, CONFIG, tests).threshold for tests in (1, 20))
    assert alone < shared

"""New words of a day, against shares computed by hand and against rooms that talk alike."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.config import DriftConfig
from orchestration.drift import words_test
from orchestration.drift_frames import DriftError
from orchestration.drift_words import new_words, room_words

CONFIG = DriftConfig(permutations=500)
DAY = date(2025, 3, 1)


def rooms(*said: str) -> pd.DataFrame:
    pairs = [(room, word) for room, text in enumerate(said) for word in sorted(set(text.split()))]
    return pd.DataFrame(pairs, columns=["room_id", "word"])


def talk(rng: np.random.Generator, count: int, topic: str = "") -> pd.DataFrame:
    """Rooms of 30 common words and two of their own, and ten of a topic."""
    own = rng.integers(0, 10**9, (count, 2))
    common = [" ".join(f"common{word}" for word in rng.choice(200, 30, replace=False)) for _ in range(count)]
    told = " ".join(f"{topic}{word}" for word in range(10)) if topic else ""
    return rooms(*(f"{common[room]} own{own[room, 0]} own{own[room, 1]} {told}" for room in range(count)))


def test_the_share_is_the_mean_over_rooms_of_what_no_room_of_the_reference_said() -> None:
    found = new_words(rooms("a b", "b c", "c"), rooms("a d e f", "b c", "d"), CONFIG)
    assert found.score == pytest.approx((3 / 4 + 0 + 1) / 3)
    assert found.examples == ("d",), "what more than one room says"
    assert len(found.null) == CONFIG.permutations


def test_a_new_topic_in_a_few_rooms_is_found_and_named() -> None:
    rng = np.random.default_rng(0)
    day = pd.concat([talk(rng, 32), talk(rng, 8, topic="kraken").assign(room_id=lambda frame: frame["room_id"] + 100)])
    test = words_test(talk(rng, 120), day, CONFIG, tests=20)
    assert test.score > 1.2 * test.threshold
    assert test.p_value < 0.01
    assert test.remark.startswith("most common: kraken")


def test_rooms_that_talk_alike_raise_no_more_alarms_than_stated() -> None:
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        test = words_test(talk(rng, 120), talk(rng, 40), replace(CONFIG, false_alarms=0.05, seed=seed))
        alarms += test.score > test.threshold
    assert alarms <= 5  # 2 expected


@pytest.mark.parametrize(("before", "now"), [((), ("a",)), (("a",), ()), (("a", "b"), ("c", "d", "e"))])
def test_too_few_rooms_say_nothing(before: tuple[str, ...], now: tuple[str, ...]) -> None:
    test = words_test(rooms(*before), rooms(*now), CONFIG)
    assert test.threshold == 1
    assert test.score <= 1


def test_words_are_read_from_speech_and_chat_in_any_script(tmp_path: Path) -> None:
    file = tmp_path / "segments" / f"dt={DAY}" / "part-0.parquet"
    file.parent.mkdir(parents=True)
    columns = {
        "room_id": [1, 1, 2],
        "speech_text": ["The BOSS is", "the boss", None],
        "chat_text": ["ok 666 gg", None, "Привет مرحبا"],
    }
    pq.write_table(pa.table(columns), file)
    found = room_words(tmp_path, [DAY], CONFIG)
    assert found.groupby("room_id")["word"].apply(set).to_dict() == {1: {"the", "boss"}, 2: {"привет", "مرحبا"}}
    with pytest.raises(DriftError, match="dt=2025-03-02"):
        room_words(tmp_path, [date(2025, 3, 2)], CONFIG)

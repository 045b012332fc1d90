"""The next window's score from what is known: planted rooms, metrics by hand, and no look ahead."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from livealign.dataset.features import COUNTS
from livealign.evaluation.highlights import STATISTICS, HighlightTable, compare_highlights, highlight_metrics, known_statistics


def planted(rooms: int = 40, windows: int = 40) -> tuple[HighlightTable, np.ndarray]:
    """Scores that follow a hidden state which content [segments, 6] shows and statistics do not."""
    rng = np.random.default_rng(0)
    n = rooms * windows
    state = np.repeat(rng.random((rooms, windows // 5)) < 0.3, 5, axis=1).reshape(-1)
    score = np.clip(0.3 + 0.4 * state + 0.1 * rng.normal(size=n), 0, 1).astype(np.float32)
    room = np.repeat(np.arange(rooms), windows)
    cut = np.quantile(score.reshape(rooms, windows), 0.7, axis=1)
    content = rng.normal(size=(n + 1, 6)).astype(np.float32)
    content[1:, 2] += 3 * state
    table = HighlightTable(
        room, np.arange(1, n + 1), rng.normal(size=(n, 5)).astype(np.float32), score, score > cut[room], room < 30
    )
    return table, content


def segments_table(rooms: np.ndarray, values: np.ndarray) -> pa.Table:
    index = np.concatenate([np.arange(count) for count in np.unique(rooms, return_counts=True)[1]])
    columns = dict.fromkeys(COUNTS, values)
    return pa.table({"room_id": rooms, "segment_index": index, "retention": values / 10.0, **columns})


def test_content_that_tells_the_moment_foresees_what_statistics_cannot() -> None:
    table, content = planted()
    found = compare_highlights(table, {"content": content})
    alone, with_content = found[STATISTICS], found[f"{STATISTICS} + content"]
    assert abs(alone.spearman) < 0.15
    assert with_content.spearman > 0.3
    assert with_content.mean_average_precision > alone.mean_average_precision + 0.2
    assert with_content.f1_at_half > alone.f1_at_half + 0.05
    assert with_content.rooms == 10


def test_metrics_of_one_room_are_those_done_by_hand() -> None:
    score = np.array([0.1, 0.9, 0.5, 0.7], dtype=np.float32)
    table = HighlightTable(np.zeros(4), np.arange(4), np.zeros((4, 1)), score, score > 0.8, np.zeros(4, dtype=bool))
    found = highlight_metrics(np.array([0.1, 0.2, 0.4, 0.3]), table)
    assert found.mean_average_precision == pytest.approx(1 / 3)  # the one highlight is third
    assert found.f1_at_half == pytest.approx(1 / 2)  # {2, 3} predicted, {1, 3} true
    assert found.kendall == pytest.approx(0)  # three pairs agree, three do not
    assert found.spearman == pytest.approx(1 - 6 * (4 + 4) / (4 * 15))
    perfect = highlight_metrics(score, table)
    assert (perfect.mean_average_precision, perfect.f1_at_half, perfect.kendall) == (1.0, 1.0, pytest.approx(1.0))
    assert highlight_metrics(np.zeros(4), table).spearman == 0


def test_what_is_known_never_looks_ahead_and_never_into_another_room() -> None:
    rooms, values = np.array([1, 1, 1, 2, 2]), np.array([3.0, 5.0, 0.0, 7.0, 1.0])
    known = known_statistics(segments_table(rooms, values))
    later = values.copy()
    later[[2, 4]] = 100
    changed = known_statistics(segments_table(rooms, later))
    assert np.array_equal(known[[0, 1, 3]], changed[[0, 1, 3]])
    width = known.shape[1] // 3
    assert known[3, width] == 0  # a room's first window has no change
    assert known[1, 2 * width] == pytest.approx(np.log1p([3.0, 5.0]).mean())
    assert known[4, 2 * width] == pytest.approx(np.log1p([7.0, 1.0]).mean())


def test_a_metric_that_no_room_defines_is_none_and_no_number_that_json_lacks() -> None:
    table, _ = planted(rooms=2, windows=5)
    same = replace(table, score=np.full(10, 0.5, dtype=np.float32), highlight=np.zeros(10, dtype=bool))
    found = highlight_metrics(np.arange(10.0), same).to_dict()
    assert found["mAP"] is None
    json.dumps(found, allow_nan=False)

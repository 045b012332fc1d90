"""The benchmarks that cannot be run here still run: on tiny shapes, and with the arithmetic that their rows rest on."""

import numpy as np
import pytest

from benchmarks import bench_gpu
from benchmarks.rows import Cost, compared, in_turns


def test_the_gpu_table_has_a_row_for_each_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_gpu.main(["--tiny"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny")]
    assert len(rows) == len(bench_gpu.TINY)
    for row in rows:
        _, _, rooms, share, tokens, _, _ = row.split("|")
        assert float(rooms.replace(",", "")) > 0
        assert float(share) >= 0
        assert float(tokens.replace(",", "")) > 0


def test_made_up_texts_have_the_length_mix_and_the_vocabulary() -> None:
    texts = bench_gpu.made_up_texts(500, 512)
    lengths = np.array([len(ids) for ids in texts])
    assert (lengths.min(), lengths.max()) == (32, 64)
    assert 0.4 < (lengths == 64).mean() < 0.6
    assert max(map(max, texts)) < 512


def test_a_row_is_the_median_of_ratios_of_rates() -> None:
    ours, theirs = [Cost(1.0, 2.0), Cost(2.0, 2.0), Cost(4.0, 2.0)], [Cost(4.0, 4.0)] * 3
    row = compared("name", "goal", ours, theirs, (10, 10, "texts/s"))
    assert (row.ratio, row.low, row.high, row.cpu_ratio) == (2.0, 1.0, 4.0, 2.0)
    assert (row.ours, row.theirs) == ("5.0 texts/s", "2.5 texts/s")


def test_both_sides_are_run_in_turns_after_a_first_time_that_does_not_count() -> None:
    order: list[str] = []

    def side(name: str):
        return lambda: order.append(name) or Cost(float(len(order)), 0.0)

    ours, theirs = in_turns(side("a"), side("b"), 2)
    assert order == ["a", "b"] * 3
    assert ([cost.wall for cost in ours], [cost.wall for cost in theirs]) == ([3.0, 5.0], [4.0, 6.0])

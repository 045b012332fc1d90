"""The file of KuaiLive's title vectors: floating-point numbers of one width, mapped from disk."""

from pathlib import Path

import numpy as np
import pytest

from livealign.errors import ArchiveError
from livealign.platforms.kuaishou.kuailive_titles import TITLE_DIMENSION, open_titles


@pytest.mark.parametrize("number_type", [np.float16, np.float32, np.float64])
def test_titles_are_mapped_as_they_are(tmp_path: Path, number_type: type) -> None:
    written = np.random.default_rng(1).random((3, TITLE_DIMENSION)).astype(number_type)
    np.save(tmp_path / "titles.npy", written)
    read = open_titles(tmp_path / "titles.npy")
    assert isinstance(read, np.memmap)
    assert np.array_equal(read, written)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (np.zeros((3, TITLE_DIMENSION), np.int64), "holds int64, not floating-point numbers; fetch it again"),
        (np.zeros((3, TITLE_DIMENSION), np.bool_), "holds bool, not floating-point numbers"),
        (np.zeros((3, TITLE_DIMENSION - 1), np.float32), f"is no array of {TITLE_DIMENSION} columns"),
        (np.zeros(TITLE_DIMENSION, np.float32), f"is no array of {TITLE_DIMENSION} columns"),
    ],
)
def test_another_array_is_refused_in_one_line(tmp_path: Path, written: np.ndarray, said: str) -> None:
    np.save(tmp_path / "titles.npy", written)
    with pytest.raises(ArchiveError, match=said):
        open_titles(tmp_path / "titles.npy")

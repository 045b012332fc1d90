"""What one release hands to the next about codes."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from livealign.coded_segments import CodedSegments, predecessor_codes
from livealign.errors import BundleError


def coded(count: int = 6) -> CodedSegments:
    ids = np.arange(count, 0, -1) * 10
    return CodedSegments.of(ids, np.arange(count), np.stack([ids % 7, ids % 5], axis=1))


def test_codes_are_found_by_segment_and_unknown_segments_have_none() -> None:
    found = coded().codes_of(np.array([60, 10, 5]))
    assert found.tolist() == [[60 % 7, 0], [10 % 7, 0], [-1, -1]]


def test_what_is_saved_comes_back_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "coded_segments.npz"
    coded().save(path)
    assert (CodedSegments.load(path).codes == coded().codes).all()
    np.savez(path, segment_ids=np.arange(3), codes=np.zeros((2, 3), dtype=np.int32))
    with pytest.raises(BundleError, match=r"coded_segments\.npz"):
        CodedSegments.load(path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(BundleError, match=r"coded_segments\.npz"):
        CodedSegments.load(path)


def test_before_the_first_release_nothing_is_known(tmp_path: Path) -> None:
    assert predecessor_codes(tmp_path, date(2025, 3, 1)) is None

"""What one release hands to the next about codes."""

from pathlib import Path

import numpy as np
import pytest

from livealign.codes.segment_codes import CodedSegments
from livealign.errors import BundleError
from livealign.release.bundle import CODED_SEGMENTS, open_bundle, write_bundle
from livealign.retrain.alignment import segments_coded_by
from tests.release.test_bundle import FIELDS


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


def test_a_release_that_wrote_nothing_down_hands_nothing_on(tmp_path: Path) -> None:
    coded().save(tmp_path / CODED_SEGMENTS)
    wrote = open_bundle(write_bundle(tmp_path / "a", {CODED_SEGMENTS: tmp_path / CODED_SEGMENTS}, FIELDS))
    found = segments_coded_by(wrote)
    assert found is not None
    assert (found.codes == coded().codes).all()
    assert segments_coded_by(open_bundle(write_bundle(tmp_path / "b", {"other": b"bytes"}, FIELDS))) is None

"""The certainty of codes on planes whose borders are known."""

import numpy as np
import pytest

from livealign.codes.certainty import code_certainty
from livealign.codes.codebook import Codebook

CENTRES = np.array([[[0.0, 0.0], [4.0, 0.0], [0.0, 40.0]], [[0.0, 0.0], [1.0, 0.0], [0.0, 8.0]]], dtype=np.float32)
CODEBOOK = Codebook.of(CENTRES)


def certain(codebook: Codebook, *vectors: tuple[float, float]) -> np.ndarray:
    points = np.array(vectors, dtype=np.float32)
    return code_certainty(codebook, points, codebook.encode(points))


def test_it_is_one_at_the_centre_and_behind_it_and_zero_at_the_border() -> None:
    first = certain(CODEBOOK, (4, 0), (6, 0), (3, 0), (2.001, 0), (1.999, 0), (0, 0))[:, 0]
    assert first == pytest.approx([1, 1, 0.5, 0, 0, 1], abs=1e-3)


def test_the_second_level_is_measured_on_what_the_first_leaves() -> None:
    assert certain(CODEBOOK, (4.75, 0))[0] == pytest.approx([1, 0.5])


def test_a_price_moves_the_border_as_it_moves_the_code() -> None:
    prices = np.array([[0, 8, 0], [0, 0, 0]], dtype=np.float32)  # squared distance + price is equal at x = 3
    dear = Codebook(CENTRES, prices)
    assert dear.encode(np.array([[2.9, 0], [3.1, 0]], dtype=np.float32))[:, 0].tolist() == [0, 1]
    assert certain(dear, (2.999, 0), (3.001, 0))[:, 0] == pytest.approx([0, 0], abs=1e-3)


def test_a_vector_changes_its_code_just_where_its_certainty_is_zero() -> None:
    rng = np.random.default_rng(4)
    codebook = Codebook.of(rng.normal(size=(3, 8, 5)).astype(np.float32))
    start, end = rng.normal(size=(2, 5)).astype(np.float32)
    line = start + np.linspace(0, 1, 4_000, dtype=np.float32)[:, None] * (end - start)
    codes = codebook.encode(line)
    certainty = code_certainty(codebook, line, codes)
    assert ((certainty >= 0) & (certainty <= 1)).all()
    changes = np.flatnonzero(codes[1:, 0] != codes[:-1, 0])
    assert len(changes)
    assert certainty[changes, 0].max() < 0.01
    assert certainty[:, 0].max() > 0.1


def test_a_level_with_one_code_is_certain() -> None:
    assert certain(Codebook.of(np.ones((1, 1, 2), dtype=np.float32)), (7, 7)).tolist() == [[1.0]]

"""Ids are stable, keyed, of 63 bits."""

import hashlib

import numpy as np
import pytest

from livealign import ids
from livealign.errors import LiveAlignError


def test_hashed_ids_have_63_bits_and_depend_on_text_namespace_and_key() -> None:
    values = {ids.hashed_id(space, f"name{i}", key) for space in "ab" for i in range(1_000) for key in (b"k", b"l")}
    assert len(values) == 4_000
    assert all(0 <= value <= ids.MAX_ID for value in values)
    assert max(values) > ids.MAX_ID * 0.9


def test_hashed_ids_do_not_change_between_releases() -> None:
    assert ids.hashed_id("twitch_user", "alice") == 2094561578902799168
    assert ids.segment_id(2528468909, 58468080) == 652393592625181379


def test_vectorised_hashes_are_the_scalar_ones() -> None:
    texts = ["a", "b", "a", "ü", "\ud800"]
    assert ids.hashed_ids("x", texts).tolist() == [ids.hashed_id("x", text) for text in texts]
    assert ids.hashed_ids("x", []).shape == (0,)


def test_segment_ids_are_the_first_15_hex_digits_of_an_md5() -> None:
    expected = [int(hashlib.md5(f"{room}:{window}".encode()).hexdigest()[:15], 16) for room, window in ((5, 7), (5, 8))]  # noqa: S324
    assert ids.segment_ids(np.array([5, 5]), np.array([7, 8])).tolist() == expected


@pytest.mark.parametrize(
    ("text", "kept"), [("42", True), (str(2**63 - 1), True), (str(2**63), False), ("-1", False), ("x", False)]
)
def test_a_persons_number_is_kept_where_it_fits_63_bits(text: str, kept: bool) -> None:
    assert (str(ids.person_id("user", text, None)) == text) is kept


def test_with_a_secret_key_every_person_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_ID_KEY", "hush")
    secret = ids.secret_key()
    assert ids.person_id("user", "42", secret) == ids.hashed_id("user", "42", b"hush") != 42


def test_a_key_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_ID_KEY", "x" * 65)
    with pytest.raises(LiveAlignError, match="at most 64"):
        ids.secret_key()

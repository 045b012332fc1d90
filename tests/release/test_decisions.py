"""The decision about a release is stored beside its bundle and does not change it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from livealign.errors import LiveAlignError
from livealign.release.bundle import open_bundle
from livealign.release.decisions import decision_file, read_decision, write_decision
from livealign.release.promotion import Decision
from tests.release.test_registry import release

NOW = datetime(2025, 1, 9, 3, tzinfo=UTC)
KEPT = Decision("keep", "worse", "Kept, because the challenger is worse.", {"difference": -0.03})


def test_a_decision_comes_back_and_leaves_the_bundle_whole(tmp_path: Path) -> None:
    one = release(tmp_path, 8)
    assert read_decision(tmp_path, one) is None
    written = write_decision(tmp_path, one, None, KEPT, NOW)
    assert read_decision(tmp_path, one) == written
    assert written["reason"] == KEPT.reason
    assert written["decided_at"] == "2025-01-09T03:00:00+00:00"
    assert open_bundle(tmp_path / one).release_id == one


def test_a_later_decision_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    one, two = release(tmp_path, 8), release(tmp_path, 9)
    write_decision(tmp_path, two, one, KEPT, NOW)
    write_decision(tmp_path, two, one, Decision("promote", "not_worse", "Promoted, because.", {}), NOW)
    found = read_decision(tmp_path, two)
    assert found is not None
    assert (found["decision"], found["against"]) == ("promote", one)


@pytest.mark.parametrize("content", ["{", "[]", '{"release": "another"}', ""])
def test_a_damaged_decision_is_an_error_that_names_its_file(content: str, tmp_path: Path) -> None:
    one = release(tmp_path, 8)
    decision_file(tmp_path, one).write_text(content)
    with pytest.raises(LiveAlignError, match=rf"{one}\.decision\.json"):
        read_decision(tmp_path, one)


def test_only_a_release_id_can_be_decided_about(tmp_path: Path) -> None:
    with pytest.raises(LiveAlignError, match="no release id"):
        write_decision(tmp_path, "../../etc/passwd", None, KEPT)

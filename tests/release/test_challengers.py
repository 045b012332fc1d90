"""Releases beside the champion: whom they serve, and what ends them."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from livealign.errors import BundleError
from livealign.release.challengers import Challenger, Challengers, point_of, read_challengers, serve, stop
from livealign.release.registry import CHALLENGERS, CHAMPION, promote, rollback
from tests.release.test_registry import release

USERS = 20_000


@pytest.fixture
def four(tmp_path: Path) -> list[str]:
    """Four releases, the first of them the champion."""
    releases = [release(tmp_path, day) for day in (8, 9, 10, 11)]
    promote(tmp_path, releases[0])
    return releases


def served_by(found: Challengers, user_id: int) -> str:
    point = point_of(found.salt, user_id)
    return next((one.release for one in found.shown if one.serves(point)), found.champion)


def test_a_user_has_one_point_under_a_salt_and_another_under_the_next() -> None:
    assert point_of("a", 7) == point_of("a", 7)
    assert point_of("a", 7) == pytest.approx(0.0184116, abs=1e-7)  # pinned: a new version must not move users
    first, second = (np.array([point_of(salt, user) for user in range(USERS)]) for salt in "ab")
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_the_points_are_uniform_also_for_ids_in_a_row_and_for_hashed_ids() -> None:
    for ids in (range(USERS), range(2**62, 2**62 + 977 * USERS, 977)):
        points = np.sort([point_of("salt", user) for user in ids])
        distance = np.abs(points - (np.arange(USERS) + 0.5) / USERS).max()
        assert distance < 1.63 / np.sqrt(USERS)  # Kolmogorov-Smirnov, 1 %
        assert points[0] >= 0
        assert points[-1] < 1


def test_each_challenger_serves_its_share_and_nobody_is_served_by_two(tmp_path: Path, four: list[str]) -> None:
    serve(tmp_path, four[1], 0.05)
    serve(tmp_path, four[2], 0.3)
    found = serve(tmp_path, four[3], 0.5, shadow=True)
    assert read_challengers(tmp_path) == found
    counted = dict.fromkeys(four, 0)
    for user in range(USERS):
        assert sum(one.serves(point_of(found.salt, user)) for one in found.shown) <= 1
        counted[served_by(found, user)] += 1
    expected = [found.champion_share, 0.05, 0.3, 0.0]
    assert found.champion_share == pytest.approx(0.65)
    for name, share in zip(four, expected, strict=True):
        assert counted[name] / USERS == pytest.approx(share, abs=4 * np.sqrt(0.25 / USERS))


def test_a_user_keeps_their_release_while_another_challenger_comes_grows_and_goes(tmp_path: Path, four: list[str]) -> None:
    steps = [serve(tmp_path, four[1], 0.1), serve(tmp_path, four[2], 0.2), serve(tmp_path, four[2], 0.3)]
    rest = stop(tmp_path, four[2])
    assert rest is not None
    for before, after in pairwise([*steps, rest]):
        assert before.salt == after.salt
        assert before.experiment != after.experiment
        for user in range(2_000):
            assert (served_by(before, user) == four[1]) == (served_by(after, user) == four[1])
    assert stop(tmp_path, four[1]) is None
    assert not (tmp_path / CHALLENGERS).exists()
    assert serve(tmp_path, four[1], 0.1).salt != rest.salt  # not the same users first again


def test_a_shadow_changes_no_experiment(tmp_path: Path, four: list[str]) -> None:
    before = serve(tmp_path, four[1], 0.1)
    assert serve(tmp_path, four[2], 1.0, shadow=True).experiment == before.experiment
    assert serve(tmp_path, four[2], 0.1).experiment != before.experiment


@pytest.mark.parametrize("move", ["promote", "rollback", "a crash"])
def test_a_move_of_the_pointer_ends_the_experiment(tmp_path: Path, four: list[str], move: str) -> None:
    promote(tmp_path, four[1])
    serve(tmp_path, four[2], 0.1)
    promote(tmp_path, four[1])  # no move
    assert read_challengers(tmp_path) is not None
    if move == "promote":
        promote(tmp_path, four[2])
    elif move == "rollback":
        rollback(tmp_path)
    else:  # between the pointer and the file
        (tmp_path / CHAMPION).write_text(four[2])
    assert read_challengers(tmp_path) is None
    assert (tmp_path / CHALLENGERS).exists() == (move == "a crash")


def test_what_cannot_be_served_is_refused_and_the_file_stays(tmp_path: Path, four: list[str]) -> None:
    before = serve(tmp_path, four[1], 0.5)
    for release_id, share, shadow, why in (
        (four[0], 0.1, False, "is the champion"),
        ("2025-01-12-0123456789ab", 0.1, False, "no release bundle"),
        ("../champion", 0.1, False, "no release id"),
        (four[2], 0.0, False, "share of 0.0"),
        (four[2], float("nan"), False, "share of nan"),
        (four[2], 0.95, False, "share of 0.95"),
        (four[2], 0.45, False, "of other challengers"),
    ):
        with pytest.raises(BundleError, match=why):
            serve(tmp_path, release_id, share, shadow=shadow)
    with pytest.raises(BundleError, match="is not served beside"):
        stop(tmp_path, four[2])
    assert read_challengers(tmp_path) == before
    (tmp_path / four[2] / "ranker.safetensors").write_bytes(b"other")
    with pytest.raises(BundleError, match="damaged"):
        serve(tmp_path, four[2], 0.1)


def test_without_a_champion_nothing_is_served_beside_it(tmp_path: Path) -> None:
    one = release(tmp_path, 8)
    assert read_challengers(tmp_path) is None
    with pytest.raises(BundleError, match="no champion to compare with"):
        serve(tmp_path, one, 0.1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 2}, "formats up to 1"),
        ({"challengers": [{"release": "../x", "share": 0.1, "first": 0, "shadow": False}]}, "names '../x'"),
        ({"challengers": 3}, "cannot be read"),
        ({"since": None}, "cannot be read"),
        ({"since": 10**30}, "which is no time"),
    ],
)
def test_a_file_that_is_not_ours_is_an_error_and_stop_removes_it(
    tmp_path: Path, four: list[str], change: dict[str, object], why: str
) -> None:
    serve(tmp_path, four[1], 0.1)
    file = tmp_path / CHALLENGERS
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BundleError, match=why):
        read_challengers(tmp_path)
    stop(tmp_path)
    assert read_challengers(tmp_path) is None


def test_what_serve_would_not_write_is_an_error(tmp_path: Path, four: list[str]) -> None:
    serve(tmp_path, four[1], 0.1)
    file = tmp_path / CHALLENGERS
    written = json.loads(file.read_text())
    one, other = (written["challengers"][0] | {"release": name} for name in four[1:3])
    for challengers, why in (
        ([one | {"first": float("nan")}], "begin at nan"),
        ([one | {"first": -5}], "begin at -5"),
        ([one | {"share": 0.95}], "leaves the champion fewer than 10%"),
        ([one | {"shadow": "false"}], "neither true nor false"),
        ([one, one], "one release twice"),
        ([one | {"release": four[0]}], "names the champion"),
        ([one, other], "some users by two challengers"),
    ):
        file.write_text(json.dumps(written | {"challengers": challengers}))
        with pytest.raises(BundleError, match=why):
            read_challengers(tmp_path)


def test_a_challenger_serves_from_its_first_point_up_to_its_last() -> None:
    one = Challenger("r", 0.25, 0.5)
    assert [one.serves(point) for point in (0.49, 0.5, 0.7499, 0.75)] == [False, True, True, False]

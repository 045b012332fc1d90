"""The champion pointer moves forward and back, to undamaged bundles only, in one step."""

import os
from pathlib import Path

import pytest

from livealign.errors import BundleError
from livealign.release.bundle import write_bundle
from livealign.release.registry import (
    CHAMPION,
    HISTORY,
    champion_path,
    list_releases,
    promote,
    read_champion,
    read_history,
    rollback,
)
from tests.release.test_bundle import FIELDS
from tests.support.disk_calls import Renamed, Synced, disk_calls


def release(releases: Path, day: int) -> str:
    window = {"start": "2025-01-01", "end": f"2025-01-{day:02d}"}
    return write_bundle(releases, {"ranker.safetensors": f"{day}".encode()}, FIELDS | {"data_window": window}).name


@pytest.fixture
def three(tmp_path: Path) -> list[str]:
    return [release(tmp_path, day) for day in (8, 9, 10)]


def test_without_a_promotion_there_is_no_champion(tmp_path: Path) -> None:
    assert read_champion(tmp_path) is None
    assert list_releases(tmp_path / "absent") == []
    with pytest.raises(BundleError, match="no champion yet; run `make retrain`"):
        champion_path(tmp_path)


def test_promotions_move_the_pointer_and_are_written_down(tmp_path: Path, three: list[str]) -> None:
    for one in three:
        promote(tmp_path, one, reason=f"better: {one}")
    assert read_champion(tmp_path) == three[2]
    assert champion_path(tmp_path) == tmp_path / three[2]
    history = read_history(tmp_path)
    assert [move["release"] for move in history] == three
    assert [move["previous"] for move in history] == [None, *three[:2]]
    assert history[0]["reason"] == f"better: {three[0]}"
    assert [one.is_champion for one in list_releases(tmp_path)] == [False, False, True]


def test_promoting_the_champion_again_changes_nothing(tmp_path: Path, three: list[str]) -> None:
    promote(tmp_path, three[0])
    promote(tmp_path, three[0])
    assert len(read_history(tmp_path)) == 1


def test_rollback_goes_back_step_by_step_and_stops_at_the_first(tmp_path: Path, three: list[str]) -> None:
    for one in three:
        promote(tmp_path, one)
    assert rollback(tmp_path) == three[1]
    assert rollback(tmp_path) == three[0]
    with pytest.raises(BundleError, match="no earlier champion"):
        rollback(tmp_path)
    assert read_champion(tmp_path) == three[0]
    promote(tmp_path, three[2])
    assert rollback(tmp_path) == three[0]


def test_a_damaged_release_is_neither_promoted_nor_rolled_back_to(tmp_path: Path, three: list[str]) -> None:
    promote(tmp_path, three[0])
    promote(tmp_path, three[1])
    (tmp_path / three[2] / "ranker.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match="damaged"):
        promote(tmp_path, three[2])
    (tmp_path / three[0] / "ranker.safetensors").unlink()
    with pytest.raises(BundleError, match="missing"):
        rollback(tmp_path)
    assert read_champion(tmp_path) == three[1]
    assert len(read_history(tmp_path)) == 2


@pytest.mark.parametrize("name", ["../../etc", "2025-01-08-0123456789ab/..", "", "latest"])
def test_only_release_ids_can_be_promoted(name: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no release id"):
        promote(tmp_path, name)


def test_a_bundle_under_another_name_is_not_promoted(tmp_path: Path, three: list[str]) -> None:
    (tmp_path / three[0]).rename(tmp_path / "2025-01-08-000000000000")
    with pytest.raises(BundleError, match="holds the release"):
        promote(tmp_path, "2025-01-08-000000000000")


def test_a_pointer_with_something_else_in_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / CHAMPION).write_text("../../etc/passwd\n")
    with pytest.raises(BundleError, match="no release id"):
        read_champion(tmp_path)


@pytest.mark.parametrize("content", [b"rubbish", b"", b"\xff\xfe"])
def test_a_pointer_that_holds_no_release_is_an_error_that_its_remedy_mends(
    content: bytes, tmp_path: Path, three: list[str]
) -> None:
    (tmp_path / CHAMPION).write_bytes(content)
    with pytest.raises(BundleError, match="livealign promote <id>"):
        read_champion(tmp_path)
    promote(tmp_path, three[1])
    assert read_champion(tmp_path) == three[1]
    assert read_history(tmp_path)[-1]["previous"] is None


def test_a_folder_in_the_pointers_place_is_named(tmp_path: Path, three: list[str]) -> None:
    (tmp_path / CHAMPION).mkdir()
    with pytest.raises(BundleError, match="move it away"):
        promote(tmp_path, three[1])


def test_a_move_whose_history_line_was_lost_can_still_be_rolled_back(tmp_path: Path, three: list[str]) -> None:
    promote(tmp_path, three[0])
    (tmp_path / CHAMPION).write_text(three[1])  # the process died between the pointer and the history
    assert rollback(tmp_path) == three[0]
    promote(tmp_path, three[2])
    assert rollback(tmp_path) == three[0]


def test_a_torn_last_line_of_the_history_is_left_out_and_cut_off(tmp_path: Path, three: list[str]) -> None:
    promote(tmp_path, three[0])
    with (tmp_path / HISTORY).open("a") as history:
        history.write('{"at": "2025-01-')
    assert len(read_history(tmp_path)) == 1
    promote(tmp_path, three[1])
    assert [move["release"] for move in read_history(tmp_path)] == three[:2]


@pytest.mark.parametrize("damage", [b"{", b"\xbd\xff half", b"[" * 100_000])
def test_a_damaged_line_in_the_middle_names_its_number(tmp_path: Path, three: list[str], damage: bytes) -> None:
    for one in three:
        promote(tmp_path, one)
    lines = (tmp_path / HISTORY).read_bytes().splitlines()
    (tmp_path / HISTORY).write_bytes(b"\n".join([lines[0], damage, lines[2]]) + b"\n")
    with pytest.raises(BundleError, match="line 2"):
        rollback(tmp_path)
    (tmp_path / HISTORY).write_bytes(b"\n".join([*lines, damage]))
    assert [move["release"] for move in read_history(tmp_path)] == three


def test_the_list_shows_a_damaged_manifest_as_a_problem(tmp_path: Path, three: list[str]) -> None:
    (tmp_path / three[1] / "manifest.json").write_text("{}")
    listed = list_releases(tmp_path)
    assert [one.problem == "" for one in listed] == [True, False, True]
    assert listed[1].manifest is None


def test_the_pointer_is_replaced_in_one_step_and_is_on_disk_before_the_history(tmp_path: Path, three: list[str]) -> None:
    pointer, history = tmp_path / CHAMPION, tmp_path / HISTORY
    promote(tmp_path, three[0])
    with pointer.open() as reader, disk_calls() as calls:
        promote(tmp_path, three[1])
        assert reader.read() == f"{three[0]}\n", "a reader that has opened the pointer reads the champion of that time"
    synced, renamed, *rest = calls
    assert isinstance(synced, Synced)
    assert synced.bytes == len(three[1]) + 1
    assert renamed == Renamed(synced.path, pointer)
    assert rest == [Synced(tmp_path, 0), Synced(history, history.stat().st_size), Synced(tmp_path, 0)]


@pytest.mark.timeout(20)
def test_a_champion_that_is_a_dangling_link_or_a_pipe_is_not_taken_for_none(tmp_path: Path, three: list[str]) -> None:
    promote(tmp_path, three[0])
    (tmp_path / "champion").unlink()
    (tmp_path / "champion").symlink_to("gone")
    with pytest.raises(BundleError, match="champion is a link to a file that is not there; run `livealign promote <id>`"):
        read_champion(tmp_path)
    assert [one.is_champion for one in list_releases(tmp_path)] == [False, False, False]
    promote(tmp_path, three[1])
    assert read_champion(tmp_path) == three[1]
    for name in ("champion", "history.jsonl"):
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
        with pytest.raises(BundleError, match=rf"{name} cannot be read .it is a pipe"):
            read_champion(tmp_path) if name == "champion" else read_history(tmp_path)
        (tmp_path / name).unlink()

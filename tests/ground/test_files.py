"""Files and folders that are replaced whole, and what is on disk when they are."""

import os
from pathlib import Path

import pytest

from livealign.errors import LiveAlignError
from livealign.files import file_sha256, lock_handle, plain_file, read_json, replace_bytes, replaced_directory, sync_directory
from tests.support.disk_calls import Renamed, Synced, disk_calls


def test_a_file_is_on_disk_with_all_its_bytes_before_it_takes_its_name(tmp_path: Path) -> None:
    target = tmp_path / "made" / "file"
    for content in (b"first", b"the second"):
        with disk_calls() as calls:
            replace_bytes(target, content)
        synced, renamed = calls
        assert isinstance(synced, Synced)
        assert synced.path.parent == target.parent
        assert synced.bytes == len(content)
        assert renamed == Renamed(synced.path, target)
        assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_who_has_a_file_open_reads_the_old_content_to_its_end(tmp_path: Path) -> None:
    replace_bytes(tmp_path / "file", b"old content")
    with (tmp_path / "file").open("rb") as file:
        assert file.read(3) == b"old"
        replace_bytes(tmp_path / "file", b"new")
        assert file.read() == b" content"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_bytes(tmp_path / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_syncing_a_folder_syncs_that_folder(tmp_path: Path) -> None:
    with disk_calls() as calls:
        sync_directory(tmp_path)
    assert calls == [Synced(tmp_path, 0)]


def test_a_replaced_folder_is_always_there_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with replaced_directory(target) as folder:
        (folder / "a").write_bytes(b"old")
        assert not target.exists()
    with disk_calls() as calls, replaced_directory(target) as folder:
        (folder / "a").write_bytes(b"new")
        assert (target / "a").read_bytes() == b"old"
    assert [call.new.name for call in calls if isinstance(call, Renamed)] == [".tmp-folder.old", "folder"]
    assert (target / "a").read_bytes() == b"new"
    with pytest.raises(FileNotFoundError), replaced_directory(target) as folder:
        (folder / "none" / "a").write_bytes(b"half")
    assert (target / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_kill_between_the_two_renames_of_a_folder_is_undone_by_the_next_call(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with replaced_directory(target) as folder:
        (folder / "a").write_bytes(b"old")
    target.rename(tmp_path / ".tmp-folder.old")
    (tmp_path / ".tmp-folder.123").mkdir()
    with replaced_directory(target):
        assert (target / "a").read_bytes() == b"old"


def test_an_array_that_is_cut_short_is_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: .*vectors"), replaced_directory(tmp_path / "vectors"):
        raise OSError("77824 requested and 24544 written")  # NumPy's own words
    with pytest.raises(OSError, match=r"^other$"), replaced_directory(tmp_path / "vectors"):
        raise OSError("other")


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (plain_file, file_sha256, lock_handle):
            with pytest.raises(OSError, match="it is a pipe, a socket or a device"):
                read(path)
        with pytest.raises(LiveAlignError, match=r"cannot be read .it is a pipe, a socket or a device.; give this user"):
            read_json(path)
    with pytest.raises(LiveAlignError, match="is a folder where a file belongs; move it away and run again"):
        read_json(tmp_path, "run `livealign releases stop`, which removes it", replaces=True)
    assert file_sha256(Path(__file__)) == file_sha256(plain_file(Path(__file__)))

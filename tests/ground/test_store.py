"""The store in a folder: what is put comes back, what is damaged or strange is refused, a pause is waited for."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from livealign.errors import LiveAlignError
from livealign.store import SUMS, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store.open(str(tmp_path / "store"))
    assert opened is not None
    return replace(opened, waits=(0.0, 0.0))


def planted_folder(folder: Path) -> Path:
    """A folder with a file, an executable, and a file below."""
    (folder / "inner").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 100)
    (folder / "run.sh").write_text("exit 0\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "inner" / "ключ.txt").write_text("é")
    return folder


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode) for path in folder.rglob("*") if path.is_file()
    }


def test_a_folder_comes_back_as_it_was_and_is_written_once(store: Store, tmp_path: Path) -> None:
    folder = planted_folder(tmp_path / "adapter")
    store.put_folder("adapters", "ab12", folder)
    archive = tmp_path / "store" / "adapters" / "ab12.tar"
    first = archive.read_bytes(), archive.stat().st_mtime_ns
    store.put_folder("adapters", "ab12", folder)
    assert (archive.read_bytes(), archive.stat().st_mtime_ns) == first
    store.fetch_folder("adapters", "ab12", tmp_path / "elsewhere" / "adapter")
    assert content(tmp_path / "elsewhere" / "adapter") == content(folder)
    assert store.names("adapters") == ["ab12.tar"]
    archive.unlink()
    store.put_folder("adapters", "ab12", tmp_path / "elsewhere" / "adapter")
    assert archive.read_bytes() == first[0]  # the same files, the same bytes


def test_what_is_not_there_and_what_is_damaged_is_one_line(store: Store, tmp_path: Path) -> None:
    assert store.get("champions/simulator.json") is None
    assert store.names("adapters") == []
    with pytest.raises(LiveAlignError, match=r"holds no adapters/ab12\.tar; run the retrain"):
        store.fetch_folder("adapters", "ab12", tmp_path / "new")
    store.put_folder("adapters", "ab12", planted_folder(tmp_path / "adapter"))
    archive = tmp_path / "store" / "adapters" / "ab12.tar"
    whole = archive.read_bytes()
    for damaged in (whole[:-30_000], whole.replace(bytes(range(256)), bytes(256)), b"", b"no tar" * 500):
        archive.write_bytes(damaged)
        with pytest.raises(LiveAlignError, match=r"ab12\.tar is damaged; delete it there"):
            store.fetch_folder("adapters", "ab12", tmp_path / "new")
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "unlisted.txt"])
def test_an_archive_that_would_write_elsewhere_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    archive = tmp_path / "store" / "adapters" / "ab12.tar"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w") as tar:
        for member, text in ((SUMS, b"{}"), (name, b"x")):
            info = tarfile.TarInfo(member)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    with pytest.raises(LiveAlignError, match="does not belong there"):
        store.fetch_folder("adapters", "ab12", tmp_path / "new")
    assert not (tmp_path / "outside.txt").exists()


def test_a_link_in_a_folder_is_refused(store: Store, tmp_path: Path) -> None:
    folder = planted_folder(tmp_path / "adapter")
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(LiveAlignError, match="link is no plain file"):
        store.put_folder("adapters", "ab12", folder)


def test_a_pause_of_the_store_is_waited_for_and_a_long_one_is_one_line(store: Store) -> None:
    tries: list[int] = []

    def away(times: int) -> str:
        tries.append(1)
        if len(tries) <= times:
            raise OSError("connection refused")
        return "here"

    assert store._patiently(lambda: away(2)) == "here"
    tries.clear()
    with pytest.raises(LiveAlignError, match=r"cannot be reached \(connection refused\); run again"):
        store._patiently(lambda: away(3))


def test_a_store_is_home_a_folder_or_a_bucket_and_never_shows_a_password() -> None:
    assert Store.open("home") is None
    for where in ("relative/folder", "s3://", "http://host/x", "s3://key:secret@bucket/prefix"):
        with pytest.raises(LiveAlignError, match=r"^machines\.store = ") as caught:
            Store.open(where)
        assert "secret" not in str(caught.value).replace("AWS_SECRET_ACCESS_KEY", "")


def test_a_store_is_looked_at_before_it_is_needed(store: Store, tmp_path: Path) -> None:
    store.look()
    assert not (tmp_path / "store").exists()
    (tmp_path / "store").write_text("")
    with pytest.raises(LiveAlignError, match=r"machines.store = .*: .*/store is no folder that this user can write; name"):
        store.look()


@pytest.mark.slow  # the library tries for seconds
def test_a_store_that_does_not_answer_is_one_line() -> None:
    away = Store.open("s3://bucket/prefix?endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1")
    assert away is not None
    with pytest.raises(LiveAlignError, match="cannot be reached"):
        away.look()

"""A full disk on a small tmpfs, as each library that writes reports it."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import save_file

from livealign.errors import LiveAlignError
from livealign.files import replace_bytes, replaced_directory
from livealign.full_disk import REMEDY, full_disk_line
from livealign.store import Store
from tests.support.small_disk import small_disk

BIG = np.random.default_rng(17).random(100_000)  # 0.8 MB


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk", "256k") as folder:
        yield folder


def empty(folder: Path) -> None:
    for old in folder.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()


def duckdb_copy(folder: Path) -> None:
    with duckdb.connect() as connection:
        rows = connection.sql("select range a, random() b from range(200000)")
        rows.write_parquet(str(folder / "x.parquet"))


def duckdb_table(folder: Path) -> None:
    with duckdb.connect(str(folder / "x.duckdb")) as connection:
        connection.execute("create table x as select range a, random() b from range(200000)")
        connection.execute("checkpoint")


def sqlite_rows(folder: Path) -> None:
    with sqlite3.connect(folder / "x.db") as connection:
        connection.execute("create table x(a)")
        connection.executemany("insert into x values (?)", [(os.urandom(1000),)] * 1000)


def arrow_stream(folder: Path) -> None:
    with pafs.LocalFileSystem().open_output_stream(str(folder / "x")) as out:
        out.write(BIG.tobytes())


def copied(folder: Path) -> None:
    outside = folder.parent / "big"
    outside.write_bytes(BIG.tobytes())
    shutil.copy(outside, folder / "x")


def copied_folder(folder: Path) -> None:
    outside = folder.parent / "folder"
    outside.mkdir(exist_ok=True)
    (outside / "big").write_bytes(BIG.tobytes())
    shutil.copytree(outside, folder / "copied")


def picture(folder: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "x.png")


def process(folder: Path) -> None:
    write = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(bytes(1_000_000))"
    done = subprocess.run([sys.executable, "-c", write, folder / "x"], stderr=subprocess.PIPE, text=True, check=False)
    raise LiveAlignError(f"the process that writes {folder / 'x'} failed: {done.stderr.splitlines()[-1]}")


WRITERS: tuple[Callable[[Path], object], ...] = (
    lambda folder: pq.write_table(pa.table({"a": BIG}), folder / "x.parquet"),
    lambda folder: np.save(folder / "x.npy", BIG),
    lambda folder: np.savez(folder / "x.npz", a=BIG),
    lambda folder: save_file({"a": BIG}, folder / "x.safetensors"),
    lambda folder: (folder / "x").write_bytes(BIG.tobytes()),
    *(duckdb_copy, duckdb_table, sqlite_rows, arrow_stream, copied, copied_folder, picture, process),
)


@pytest.mark.parametrize("write", WRITERS)
def test_whatever_a_library_calls_it_one_line_names_the_place_and_the_remedy(
    write: Callable[[Path], object], disk: Path
) -> None:
    empty(disk)
    with pytest.raises(Exception) as raised:  # noqa: PT011  each library has its own
        write(disk)
    wrapped = RuntimeError("a stage failed")
    wrapped.__cause__ = raised.value
    for error in (raised.value, wrapped):
        line = full_disk_line(error, disk)
        assert line is not None
        assert "\n" not in line
        assert str(disk) in line
        assert line.lower().count("no space left on device") == 1
        assert line.endswith(REMEDY)


def test_a_quota_that_is_used_up_is_a_full_disk(tmp_path: Path) -> None:
    error = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(tmp_path / "x"))
    assert full_disk_line(error) == f"{tmp_path / 'x'}: No space left on device; {REMEDY}"


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("77 requested and 5 written"), None])
def test_other_errors_are_no_full_disk(error: Exception | None) -> None:
    assert full_disk_line(error) is None


@pytest.mark.parametrize("write", WRITERS[:5])
def test_a_folder_and_a_file_that_did_not_fit_are_named_and_leave_the_old_and_no_rest(
    write: Callable[[Path], object], disk: Path
) -> None:
    empty(disk)
    replace_bytes(disk / "file", b"old")
    with pytest.raises(OSError, match=r"No space left on device: .*/folder'"), replaced_directory(disk / "folder") as folder:
        write(folder)
    with pytest.raises(OSError, match=r"No space left on device: .*/file'"):
        replace_bytes(disk / "file", BIG.tobytes())
    assert [path.name for path in disk.iterdir()] == ["file"]
    assert (disk / "file").read_bytes() == b"old"


def test_a_full_store_is_not_waited_for_and_keeps_what_it_has(disk: Path, tmp_path: Path) -> None:
    empty(disk)
    store = Store(str(disk), pafs.LocalFileSystem(), str(disk), waits=(3_600.0,))  # a wait would end the test by its time limit
    store.put("pointer", b"old")
    with pytest.raises(LiveAlignError, match=r"/pointer: No space left on device; `livealign prune`"):
        store.put("pointer", BIG.tobytes())
    assert store.get("pointer") == b"old"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "big").write_bytes(BIG.tobytes())
    with pytest.raises(LiveAlignError, match="No space left"):
        store.put_folder("releases", "x", tmp_path / "folder")
    elsewhere = Store(str(tmp_path / "store"), pafs.LocalFileSystem(), str(tmp_path / "store"), waits=(3_600.0,))
    elsewhere.put_folder("releases", "x", tmp_path / "folder")
    with pytest.raises(OSError, match=r"No space left on device: .*/fetched"):
        elsewhere.fetch_folder("releases", "x", disk / "fetched")
    with pytest.raises(LiveAlignError, match="No space left"):
        elsewhere.fetch_file("releases/x.tar", disk / "x.tar")
    left = [path.relative_to(disk).as_posix() for path in disk.rglob("*") if path.is_file()]
    assert left == ["pointer"]

"""A small file system in memory, or a read-only one, mounted where a test wants it."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(target: Path, *arguments: str) -> Iterator[Path]:
    """Something mounted on the folder; the test is skipped where this may not be done."""
    target.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small or read-only file system")
    done = subprocess.run([mount, *arguments, str(target)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed on this machine: {done.stderr.strip()}")
    try:
        yield target
    finally:
        subprocess.run([str(shutil.which("umount")), "--lazy", str(target)], check=True)


@contextlib.contextmanager
def small_disk(target: Path, size: str) -> Iterator[Path]:
    """An empty file system of this size, as `96m`, mounted on the folder."""
    with mounted(target, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield target


def resize(disk: Path, size: str) -> None:
    """Give a mounted small disk another size."""
    subprocess.run([str(shutil.which("mount")), "-o", f"remount,size={size}", str(disk)], check=True)


def fill(disk: Path, left: int = 0) -> Path:
    """A file that leaves so many bytes of the disk free; delete it to free the rest."""
    filler = disk / "filler"
    free = os.statvfs(disk)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free.f_bfree * free.f_frsize - left, 1))
    return filler

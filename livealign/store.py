"""The store: finished things by the hash of their content, in a folder or on S3.

Machines that share nothing else share it.

    store = Store.open("s3://bucket/prefix")                   # or a folder; None for "home"
    store.put_folder("adapters", sha256, folder)               # one object, written once
    store.fetch_folder("adapters", sha256, folder)             # on another machine

    <store>/backbones/<sha256>.tar  adapters/<sha256>.tar  releases/<release id>.tar  bentos/<release id>.tar
            embedding_cache/<encoder version>/<shard>.arrow    champions/<platform>.json  challengers/<platform>.json

Whatever a name's hash stands for never changes, so each object is written by one upload and appears whole; nothing is renamed
or locked, and work that is done twice writes the same. Two objects of a platform are replaced: the champion's pointer and the
file of its challengers. Only small shards are deleted, once a larger one holds their rows. Credentials of S3 come from the
environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), and so does the server (AWS_ENDPOINT_URL) if it is not Amazon's.
"""

import io
import json
import os
import socket
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

import pyarrow.fs as pafs

from livealign.errors import LiveAlignError
from livealign.files import TEMPORARY_PREFIX, file_sha256, refuse_newer, removed_on_error, replaced_directory
from livealign.full_disk import full_disk_line

T = TypeVar("T")

HOME = "home"
SUMS = "SHA256SUMS.json"  # the first member of an archive: name → SHA-256 of all others
VERSION, FORMAT = "LIVEALIGN.format", 1  # name and number of the version of an archive
WAITS = (1, 2, 4, 8, 16, 32)  # seconds between tries: a store that restarts is waited for
LASTING = ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "INVALID_CLIENT_TOKEN", "SIGNATURE_DOES_NOT_MATCH", "NO_SUCH_BUCKET")  # of S3
_CHUNK = 8 << 20


@dataclass(frozen=True)
class Store:
    """A folder or bucket, with the name by which a person set it."""

    where: str
    filesystem: pafs.FileSystem
    root: str
    waits: tuple[float, ...] = WAITS

    @classmethod
    def open(cls, where: str) -> "Store | None":
        """The store of the setting `machines.store`; None for "home". Nothing is read yet.

        Raises:
            LiveAlignError: it is neither a folder's absolute path nor s3://bucket/prefix, or it has credentials in it.
        """
        if where == HOME:
            return None
        if where.startswith("/"):
            return cls(where, pafs.LocalFileSystem(), where.rstrip("/") or "/")
        if not where.startswith("s3://") or "@" in where or not where.removeprefix("s3://").strip("/"):
            raise LiveAlignError(
                f"machines.store = {where.rpartition('@')[2]!r}: write home, the absolute path of a folder, or "
                "s3://bucket/prefix; credentials belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        try:
            filesystem, root = pafs.FileSystem.from_uri(where)
        except (OSError, ValueError) as error:
            raise LiveAlignError(f"machines.store = {where!r} cannot be opened ({error}); correct it") from error
        return cls(where, filesystem, root.rstrip("/"))

    def look(self) -> None:
        """Look once whether the store can be used.

        Raises:
            LiveAlignError: its bucket is not there or does not answer, or its folder cannot be written.
        """
        if not isinstance(self.filesystem, pafs.LocalFileSystem):
            bucket, _, prefix = self.root.partition("/")
            replace(self, waits=())._patiently(lambda: self.filesystem.get_file_info(self.root))
            try:
                found = self.filesystem.get_file_info(bucket)
            except OSError:  # it answered above: a key that is limited to the prefix may not look at the bucket
                if prefix:
                    return
                raise
            if found.type == pafs.FileType.NotFound:
                raise LiveAlignError(f"machines.store = {self.where!r}: there is no bucket {bucket}; make it, or name another")
            return
        folder = next(part for part in (Path(self.root), *Path(self.root).parents) if os.path.lexists(part))
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise LiveAlignError(
                f"machines.store = {self.where!r}: {folder} is no folder that this user can write; name another, or home"
            )

    def has(self, name: str) -> bool:
        """Whether the store holds an object of this name."""
        return self._patiently(lambda: self.filesystem.get_file_info(self._path(name)).type == pafs.FileType.File)

    def names(self, folder: str) -> list[str]:
        """Names of the objects directly in a folder, sorted; empty if there is no such folder."""
        selector = pafs.FileSelector(self._path(folder), allow_not_found=True)
        infos = self._patiently(lambda: self.filesystem.get_file_info(selector))
        files = (info.base_name for info in infos if info.type == pafs.FileType.File)
        return sorted(name for name in files if not name.startswith(TEMPORARY_PREFIX))

    def get(self, name: str) -> bytes | None:
        """The bytes of a small object; None if there is none."""
        return self._patiently(lambda: self._read(name)) if self.has(name) else None

    def put(self, name: str, content: bytes) -> None:
        """Write a small object, whole or not at all; one of this name is replaced."""
        self._patiently(lambda: self._write(name, io.BytesIO(content)))

    def put_file(self, name: str, file: Path) -> None:
        """Write the object of a file, whole or not at all, unless there is one of this name."""

        def write() -> None:
            with file.open("rb") as source:
                self._write(name, source)

        if not self.has(name):
            self._patiently(write)

    def fetch_file(self, name: str, file: Path) -> bool:
        """Write an object's bytes to a file, whole or not at all; False if there is no such object."""

        def read() -> bool:
            temporary = file.with_name(_temporary(file.name))
            try:
                source = self.filesystem.open_input_stream(self._path(name))
            except FileNotFoundError:
                return False
            with removed_on_error(temporary, file):
                with source, temporary.open("wb") as out:
                    while block := source.read(_CHUNK):
                        out.write(block)
                temporary.replace(file)
            return True

        file.parent.mkdir(parents=True, exist_ok=True)
        return self._patiently(read)

    def delete(self, name: str) -> None:
        """Delete an object, if there is one of this name."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                self.filesystem.delete_file(self._path(name))

        self._patiently(remove)

    def put_folder(self, kind: str, name: str, folder: Path) -> None:
        """Write a folder as `<kind>/<name>.tar`, unless it is there."""
        if self.has(f"{kind}/{name}.tar"):
            return
        with tempfile.NamedTemporaryFile(prefix="livealign-") as archive:
            _write_archive(folder, archive)
            archive.flush()
            self.put_file(f"{kind}/{name}.tar", Path(archive.name))

    def fetch_folder(self, kind: str, name: str, folder: Path) -> None:
        """Make the folder from `<kind>/<name>.tar`, whole or not at all, unless the folder is there.

        Raises:
            LiveAlignError: the store does not hold it, or a file in it is not what was put there.
        """
        if folder.exists():
            return
        if not self.has(f"{kind}/{name}.tar"):
            raise LiveAlignError(
                f"{self.where} holds no {kind}/{name}.tar; run the retrain that made it with this machines.store"
            )
        with tempfile.TemporaryDirectory(prefix="livealign-") as scratch, replaced_directory(folder) as fresh:
            archive = Path(scratch, "folder.tar")
            if not self.fetch_file(f"{kind}/{name}.tar", archive):
                raise LiveAlignError(f"{self.where} lost {kind}/{name}.tar while it was fetched; run again")
            _read_archive(archive, fresh, f"{self.where}/{kind}/{name}.tar")

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _read(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(self._path(name)) as source:
            return bytes(source.read())

    def _write(self, name: str, source: IO[bytes]) -> None:
        """On S3 an object appears when its stream is closed; in a folder a file appears when it is renamed."""
        path, local = self._path(name), isinstance(self.filesystem, pafs.LocalFileSystem)
        source.seek(0)
        if not local:
            self._copy(source, path)
            return
        target = Path(path).with_name(_temporary(Path(path).name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with removed_on_error(target, Path(path)):
            self._copy(source, str(target))
            target.replace(path)

    def _copy(self, source: IO[bytes], path: str) -> None:
        read = False
        try:
            with self.filesystem.open_output_stream(path) as out:
                while block := source.read(_CHUNK):
                    out.write(block)
                read = True
        except BaseException:
            # A stream of Arrow cannot be aborted: closed after an error it makes an object of what was written until then,
            # which would pass for the whole for ever. Where closing fails there is none, and what had the name stays.
            if not read:
                with suppress(OSError):  # the store is away, so that nothing was completed
                    self.filesystem.delete_file(path)
            raise

    def _patiently(self, work: Callable[[], T]) -> T:
        """The result of the work, tried again while the store cannot be reached."""
        for wait in (*self.waits, None):
            try:
                return work()
            except OSError as error:
                if full := full_disk_line(error, Path(self.root)):
                    raise LiveAlignError(full) from error
                if wait is None or any(name in str(error) for name in LASTING):
                    raise LiveAlignError(f"the store {self.where} cannot be reached ({_one_line(error)}); run again") from error
                time.sleep(wait)
        raise AssertionError("unreachable")


def _write_archive(folder: Path, out: Any) -> None:
    """A tar of the folder's files with their hashes first; the same files give the same bytes.

    Raises:
        LiveAlignError: the folder holds something that is no file.
    """
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    if odd := [path for path in paths if path.is_symlink() or not path.is_file()]:
        raise LiveAlignError(f"{odd[0]} is no plain file and cannot be copied to the store; remove it")
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    sums = {name: file_sha256(path) for name, path in names.items()}
    # A header of the whole archive: readers that do not know it pass over it.
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={VERSION: str(FORMAT)}) as tar:
        content = json.dumps(sums, indent=1).encode()
        tar.addfile(_member(SUMS, len(content), 0o644), io.BytesIO(content))
        for name, path in names.items():
            with path.open("rb") as file:
                executable = bool(path.stat().st_mode & 0o100)
                tar.addfile(_member(name, path.stat().st_size, 0o755 if executable else 0o644), file)


def _read_archive(archive: Path, folder: Path, shown: str) -> None:
    """Write the files of an archive below the folder, and compare each with its hash."""
    damaged = f"{shown} is damaged; delete it there, and run the retrain that made it again"
    try:
        with tarfile.open(archive, mode="r:") as tar:
            members = iter(tar)
            first = next(members)
            refuse_newer(shown, int((tar.pax_headers or {}).get(VERSION, 1)), FORMAT, "delete it there, and put it there again")
            sums: dict[str, str] = json.loads(_content(tar, first).read())
            left = dict(sums)
            for member in members:
                path = PurePosixPath(member.name)
                if not member.isreg() or path.is_absolute() or ".." in path.parts or left.pop(member.name, None) is None:
                    raise LiveAlignError(f"{damaged} ({member.name[:80]!r} does not belong there)")
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as out:
                    source = _content(tar, member)
                    while block := source.read(_CHUNK):
                        out.write(block)
                target.chmod(0o755 if member.mode & 0o100 else 0o644)
                if file_sha256(target) != sums[member.name]:
                    raise LiveAlignError(f"{damaged} ({member.name} has another SHA-256)")
    except (tarfile.TarError, ValueError, StopIteration, AttributeError) as error:
        raise LiveAlignError(f"{damaged} ({error})") from error
    if left:
        raise LiveAlignError(f"{damaged} ({next(iter(left))} is missing)")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    source = tar.extractfile(member)
    if source is None:
        raise ValueError(f"{member.name} is no file")
    return source


def _member(name: str, size: int, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    return member


def _temporary(name: str) -> str:
    """A name that no other process of any machine uses."""
    return f"{TEMPORARY_PREFIX}{name}.{socket.gethostname()}.{os.getpid()}"


def _one_line(error: OSError) -> str:
    return " ".join(str(error).split())[:200]

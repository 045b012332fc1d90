"""A release bundle: its file names, its manifest, writing and verifying it.

A bundle is one directory with everything that serving needs. Its manifest proves that no file has changed.

    releases/<release id>/
      manifest.json            platform, data, seeds, metrics, and the SHA-256 of every file
      alignment.safetensors  codebook.npz  ranker.safetensors  code_names.json  contexts.json
      lexicon.npz              if the release reads counted words
      adapter/  vocabulary/  reference/  snapshot/

The release id is `<day>-<short content hash>`: the same content has the same id, so writing it again changes nothing.
Loading needs only the path. Nothing in a bundle is ever unpickled.
"""

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from livealign import __version__
from livealign.errors import BundleError
from livealign.files import exclusive, file_sha256, name_on_full_disk, sync_directory

CODED_SEGMENTS = "coded_segments.npz"
ALIGNMENT = "alignment.safetensors"
CODEBOOK = "codebook.npz"
RANKER = "ranker.safetensors"
CODE_NAMES = "code_names.json"
CONTEXTS = "contexts.json"
LEXICON = "lexicon.npz"
ADAPTER = "adapter"
VOCABULARY = "vocabulary"
SNAPSHOT = "snapshot"
REFERENCE = "reference"
HELD_OUT_SCORES = "held_out_scores.npz"

BUNDLE_FORMAT = 1
MANIFEST = "manifest.json"
LOCK = ".lock"  # of the releases folder: one writer at a time
RELEASE_ID = re.compile(r"\d{4}-\d{2}-\d{2}-[0-9a-f]{12}")

REQUIRED_FIELDS = ("data_window", "platform", "profile", "backbone", "seeds", "metrics", "codebook_version")
_MANIFEST_LIMIT = 16 * 2**20  # bytes; LiveAlign writes none so large
_CHUNK = 2**20
_UNFINISHED = ".writing-"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: every file was there and had its hash when it was opened."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def release_id(self) -> str:
        """`<day>-<short content hash>`, as the manifest states it."""
        return str(self.manifest["release_id"])

    def file(self, name: str) -> Path:
        """Path of one file of the bundle.

        Raises:
            BundleError: the manifest does not name the file.
        """
        if name not in self.manifest["files"]:
            raise BundleError(f"the bundle {self.path} holds no '{name}'; build it again with `make retrain`")
        return self.path / name

    def files(self, folder: str) -> list[Path]:
        """All files below `folder`, sorted by name."""
        return [self.path / name for name in sorted(self.manifest["files"]) if name.startswith(f"{folder}/")]


def write_bundle(out_root: Path, parts: Mapping[str, Path | bytes], manifest_fields: Mapping[str, Any]) -> Path:
    """Write a bundle to `out_root/<release id>/` in one step: complete or not at all.

    Args:
        out_root: the releases folder; created if it is missing.
        parts: relative POSIX path in the bundle → its bytes, a file, or a folder (copied with everything below it).
        manifest_fields: at least REQUIRED_FIELDS; `data_window` is {"start": "YYYY-MM-DD", "end": "YYYY-MM-DD"} and its
            end is the day of the release. Numbers that are not finite are written as null.

    Returns:
        The bundle's directory. If an undamaged bundle with the same content exists, that one.

    Raises:
        BundleError: a field is missing, a part cannot be read, or a name would leave the bundle.
    """
    fields = _json_ready(dict(manifest_fields))
    day = _release_day(fields)
    sources = _expand(parts)
    out_root.mkdir(parents=True, exist_ok=True)
    with exclusive(out_root / LOCK):
        for leftover in out_root.glob(f"{_UNFINISHED}*"):  # of a writer that was killed: this process holds the lock
            shutil.rmtree(leftover)
        temporary = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=out_root))
        try:
            files = {name: _write_file(temporary / name, source) for name, source in sorted(sources.items())}
            manifest = {"bundle_format": BUNDLE_FORMAT, "livealign": __version__, **fields, "files": files}
            release_id = f"{day}-{_content_hash(manifest)}"
            text = json.dumps({"release_id": release_id, **manifest}, indent=2, ensure_ascii=False) + "\n"
            _write_file(temporary / MANIFEST, text.encode())
            for folder in [temporary, *(path for path in temporary.rglob("*") if path.is_dir())]:
                sync_directory(folder)
            temporary.chmod(0o755)  # mkdtemp's 0o700 would hide the release from a service that runs as another user
            return _put_in_place(temporary, out_root / release_id)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            name_on_full_disk(error, out_root / temporary.name)
            raise


def open_bundle(path: Path) -> Bundle:
    """Verify a bundle directory and return the bundle.

    Checks the format, the names, the size and SHA-256 of every file, and the content hash in the release id.

    Raises:
        BundleError: it is missing, incomplete, changed since it was written, or of a format this code does not read. The
            message names the file and the remedy.
    """
    manifest = read_manifest(path)
    files: Mapping[str, Mapping[str, Any]] = manifest["files"]
    present = set(_regular_files(path)) - {MANIFEST}
    if unknown := sorted(present - files.keys()):
        raise BundleError(f"{path / unknown[0]} is not in the bundle's manifest; remove it, or build the release again")
    for name, entry in files.items():
        file = path / name
        if name not in present:
            raise BundleError(f"{file} is missing; build the release again or roll back to another")
        if file.stat().st_size != entry["bytes"] or file_sha256(file) != entry["sha256"]:
            raise BundleError(f"{file} is damaged (its SHA-256 is not the manifest's); build the release again or roll back")
    return Bundle(path, manifest)


def read_manifest(path: Path) -> dict[str, Any]:
    """The bundle's manifest, checked on its own; the files it names are not opened.

    `open_bundle` checks the files too.

    Raises:
        BundleError: there is no manifest, it cannot be read, it was changed, or it names files outside the bundle.
    """
    file = path / MANIFEST
    try:
        there = not file.is_symlink() and file.is_file()
    except OSError as error:  # such as a name that is too long
        raise BundleError(f"{str(path)[:200]} cannot be a release bundle: {error.strerror}") from error
    if not there:
        raise BundleError(f"{path} is no release bundle: it has no {MANIFEST}; build one with `make retrain`")
    if file.stat().st_size > _MANIFEST_LIMIT:
        raise BundleError(
            f"{file} is larger than {_MANIFEST_LIMIT} bytes, so LiveAlign did not write it; build the release again"
        )
    try:
        manifest = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file} is damaged ({error}); build the release again or roll back to another") from error
    if not isinstance(manifest, dict) or "bundle_format" not in manifest:
        raise BundleError(f"{file} is not a bundle manifest; build the release again")
    if manifest["bundle_format"] != BUNDLE_FORMAT:
        raise BundleError(
            f"{file} has bundle format {manifest['bundle_format']!r}, and this code reads {BUNDLE_FORMAT}; "
            f"build the release again with this version of LiveAlign"
        )
    _check_manifest(file, manifest)
    return manifest


# Names and fields


def _check_manifest(file: Path, manifest: Mapping[str, Any]) -> None:
    missing = [name for name in ("release_id", "livealign", "files", *REQUIRED_FIELDS) if name not in manifest]
    if missing:
        raise BundleError(f"{file} has no '{missing[0]}'; build the release again")
    files = manifest["files"]
    if not isinstance(files, dict):
        raise BundleError(f"{file} has no table of files; build the release again")
    for name, entry in files.items():
        _check_name(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str) or not isinstance(entry.get("bytes"), int):
            raise BundleError(f"{file} gives no hash and size for '{name}'; build the release again")
    content = {key: value for key, value in manifest.items() if key != "release_id"}
    if manifest["release_id"] != f"{_release_day(manifest)}-{_content_hash(content)}":
        raise BundleError(f"{file} was changed after it was written; build the release again or roll back to another")


def _check_name(name: str) -> None:
    """A part's name is a relative POSIX path that stays inside the bundle."""
    path = PurePosixPath(name)
    inside = name and not path.is_absolute() and ".." not in path.parts and str(path) == name
    if not inside or name == "." or any(character in name for character in "\\\0:") or name == MANIFEST:
        raise BundleError(f"'{name}' cannot be a file of a bundle: it must be a plain relative path inside it")


def _release_day(fields: Mapping[str, Any]) -> str:
    missing = [name for name in REQUIRED_FIELDS if name not in fields]
    if missing:
        raise BundleError(f"a bundle's manifest needs '{missing[0]}'")
    window = fields["data_window"]
    day = window.get("end") if isinstance(window, Mapping) else None
    if not isinstance(day, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day):
        raise BundleError(f"a bundle's data_window needs an 'end' of the form YYYY-MM-DD, and this is {window!r}")
    return day


def _content_hash(manifest: Mapping[str, Any]) -> str:
    """First 12 hex digits of the SHA-256 of the manifest, which holds the SHA-256 of every file."""
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _json_ready(value: Any) -> Any:
    """The value as JSON returns it: string keys, lists, and null for a number that is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "item"):  # a numpy scalar
        return _json_ready(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)  # dates, paths


# Files


def _expand(parts: Mapping[str, Path | bytes]) -> dict[str, Path | bytes]:
    """The parts with each folder replaced by the files below it; every name is checked."""
    sources: dict[str, Path | bytes] = {}
    for name, part in parts.items():
        if isinstance(part, Path) and part.is_dir():
            sources |= {f"{name}/{inner}": part / inner for inner in _regular_files(part)}
        else:
            sources[name] = part
    for name in sources:
        _check_name(name)
    return sources


def _regular_files(folder: Path) -> Iterator[str]:
    """Relative POSIX paths of all files below `folder`; raises on links and devices."""
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(root) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise BundleError(f"{path} is a link or no plain file, which a bundle must not hold; remove it")
        for name in names:
            yield (Path(root) / name).relative_to(folder).as_posix()


def _write_file(target: Path, source: Path | bytes) -> dict[str, Any]:
    """Copy a part into the bundle and sync it to disk. Returns the manifest's entry: {"sha256": hex, "bytes": n}."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as out:
        for chunk in _chunks(source):
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return {"sha256": digest.hexdigest(), "bytes": size}


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    try:
        with source.open("rb") as file:
            yield from _read_chunks(file)
    except OSError as error:
        raise BundleError(
            f"{source} cannot be put into the bundle ({error.strerror}); was the stage that makes it run?"
        ) from error


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _put_in_place(temporary: Path, target: Path) -> Path:
    """Rename the finished bundle to its id; keep an undamaged bundle of that id, replace a damaged one."""
    if target.exists():
        try:
            open_bundle(target)
        except BundleError:
            target.rename(target.with_name(f"{_UNFINISHED}damaged-{target.name}"))
        else:
            shutil.rmtree(temporary)
            return target
    temporary.rename(target)
    sync_directory(target.parent)
    for leftover in target.parent.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(leftover)
    return target


def window_days(window: dict[str, str]) -> tuple[date, date]:
    """First and last training day of a `data_window`."""
    return date.fromisoformat(window["start"]), date.fromisoformat(window["train_end"])

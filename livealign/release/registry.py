"""The champion pointer, its history, rollback, and the previous release of a day.

releases/
  champion          the release id that serves, replaced by rename
  history.jsonl     every move of the pointer, appended, never rewritten
  challengers.json  what is served beside the champion (livealign.release.challengers); a move of the pointer ends it
  format.json       the version of the pointer and its history (livealign.formats)
  <release id>/     bundles (livealign.release.bundle)
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from livealign.errors import BundleError
from livealign.files import exclusive, plain_file, replace_bytes, sync_directory
from livealign.formats import check_folder, mark_folder
from livealign.release.bundle import LOCK, RELEASE_ID, Bundle, open_bundle, read_manifest

CHAMPION = "champion"
HISTORY = "history.jsonl"
CHALLENGERS = "challengers.json"
_REMEDY = "promote in another LIVEALIGN_HOME"


@dataclass(frozen=True)
class Release:
    """One bundle of the releases folder, as `livealign releases` lists it."""

    release_id: str
    path: Path
    is_champion: bool
    manifest: dict[str, Any] | None  # None if it cannot be read
    problem: str  # why it cannot be read, or empty


def read_champion(releases: Path) -> str | None:
    """The release id that the pointer names, or None before the first promotion.

    Raises:
        BundleError: the pointer does not hold a release id, or a newer version of LiveAlign wrote it.
    """
    check_folder(releases, _REMEDY, BundleError)
    file = releases / CHAMPION
    try:
        content = plain_file(file).read_bytes().decode("utf-8", "backslashreplace").strip()
    except FileNotFoundError:
        if file.is_symlink():
            raise BundleError(f"{file} is a link to a file that is not there; run `livealign promote <id>`") from None
        return None
    except OSError as error:
        raise BundleError(f"{file} cannot be read ({error.strerror}); move it away, then `livealign promote <id>`") from error
    if not RELEASE_ID.fullmatch(content):
        raise BundleError(f"{file} holds {content[:80]!r}, which is no release id; run `livealign promote <id>`")
    return content


def champion_path(releases: Path) -> Path:
    """Directory of the champion's bundle; not verified (`bundle.open_bundle` does).

    Raises:
        BundleError: there is no champion.
    """
    release_id = read_champion(releases)
    if release_id is None:
        raise BundleError(f"{releases} has no champion yet; run `make retrain`")
    return releases / release_id


def promote(releases: Path, release_id: str, reason: str = "", now: datetime | None = None) -> None:
    """Verify the bundle, then move the champion pointer to it and record the move.

    Promoting the champion again changes nothing. A pointer that holds no release id is replaced.

    Raises:
        BundleError: the id is not a release id, or its bundle is missing or damaged; the champion stays.
    """
    _verify(releases, release_id)
    with exclusive(releases / LOCK):
        _move(releases, release_id, "promote", reason, now)


def rollback(releases: Path, reason: str = "", release_id: str | None = None, now: datetime | None = None) -> str:
    """Move the champion pointer back to the champion before this one, or to a named one.

    Called again, it moves to the champion before that.

    Returns:
        The release id of the champion now.

    Raises:
        BundleError: there is no earlier champion, the release was never champion, or its bundle is missing or damaged; the
            champion stays.
    """
    if not releases.is_dir():
        raise BundleError(f"{releases} is missing: there is no release to go back to; run `make retrain`")
    with exclusive(releases / LOCK):
        history = read_history(releases)
        line = _lineage(history, read_champion(releases))
        if release_id is None and len(line) < 2:
            raise BundleError(f"{releases} has no earlier champion to roll back to; run `livealign promote <id>` to pick one")
        target = line[-2] if release_id is None else release_id
        _verify(releases, target)
        if target not in line and all(target not in (move["release"], move["previous"]) for move in history):
            raise BundleError(
                f"{target} was never the champion, so it cannot be rolled back to; run `livealign promote {target}`"
            )
        _move(releases, target, "rollback", reason, now)
        return target


def champion_line(releases: Path) -> list[str]:
    """The champions that rollbacks step through, the present champion last."""
    return _lineage(read_history(releases), read_champion(releases))


def list_releases(releases: Path) -> list[Release]:
    """All bundles, oldest day first; manifests are checked, files are not hashed.

    Under a champion pointer that cannot be read none of them is the champion.
    """
    try:
        champion = read_champion(releases)
    except BundleError:
        champion = None
    listed = []
    for path in sorted(releases.iterdir()) if releases.is_dir() else ():
        if not RELEASE_ID.fullmatch(path.name):
            continue
        try:
            manifest, problem = read_manifest(path), ""
        except BundleError as error:
            manifest, problem = None, str(error)
        listed.append(Release(path.name, path, path.name == champion, manifest, problem))
    return listed


def read_history(releases: Path) -> list[dict[str, Any]]:
    """Every move of the pointer, oldest first: {at, action, release, previous, reason}.

    A last line that a crash cut short is left out.

    Raises:
        BundleError: a line before the last is damaged, or a newer version of LiveAlign wrote them.
    """
    check_folder(releases, _REMEDY, BundleError)
    file = releases / HISTORY
    try:
        lines = plain_file(file).read_bytes().splitlines() if os.path.lexists(file) else []
    except OSError as error:
        raise BundleError(f"{file} cannot be read ({error.strerror}); move it away, which forgets earlier champions") from error
    moves = []
    for number, line in enumerate(lines, start=1):
        try:
            move = json.loads(line)
            moves.append({key: move[key] for key in ("at", "action", "release", "previous", "reason")})
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if number < len(lines):
                raise BundleError(f"{file} line {number} is damaged; remove that line and run again") from error
    return moves


def _verify(releases: Path, release_id: str) -> None:
    if not RELEASE_ID.fullmatch(release_id):
        raise BundleError(f"{release_id[:80]!r} is no release id; `livealign releases` lists the releases")
    bundle = open_bundle(releases / release_id)
    if bundle.release_id != release_id:
        raise BundleError(f"{bundle.path} holds the release {bundle.release_id}; move it to a folder of that name")


def _move(releases: Path, release_id: str, action: Literal["promote", "rollback"], reason: str, now: datetime | None) -> None:
    """Write the pointer, then the history; `_lineage` copes with a crash between the two."""
    check_folder(releases, _REMEDY, BundleError)
    try:
        previous = read_champion(releases)
    except BundleError:  # promoting a release is how such a pointer is mended
        if (releases / CHAMPION).is_dir():
            raise
        previous = None
    if previous == release_id:
        return
    mark_folder(releases)
    replace_bytes(releases / CHAMPION, f"{release_id}\n".encode())
    (releases / CHALLENGERS).unlink(missing_ok=True)  # after a crash before this line it names another champion
    sync_directory(releases)
    at = (now or datetime.now(UTC).replace(tzinfo=None)).isoformat(timespec="milliseconds")
    _append(
        releases / HISTORY,
        {"at": at, "action": action, "release": release_id, "previous": previous, "reason": reason},
    )


def _append(file: Path, record: dict[str, Any]) -> None:
    """Append one line and sync it to disk. A torn last line (a crash while appending) is cut off first."""
    with file.open("ab+") as out:
        out.seek(0)
        content = out.read()
        if content and not content.endswith(b"\n"):
            out.truncate(content.rfind(b"\n") + 1)
        out.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())
    sync_directory(file.parent)


def _lineage(moves: Sequence[dict[str, Any]], champion: str | None) -> list[str]:
    """The champions that rollbacks step through, the present one last: promotions push, rollbacks pop."""
    line: list[str] = []
    for move in moves:
        _align(line, move["previous"])
        if move["action"] == "promote":
            line.append(move["release"])
        else:
            _align(line, move["release"])
    _align(line, champion)
    return line


def _align(line: list[str], champion: str | None) -> None:
    """Make `champion` the last of the line, also if its move was not recorded."""
    if champion is None or champion in line[-1:]:
        return
    if champion in line:
        while line[-1] != champion:
            line.pop()
    else:
        line.append(champion)


def champion_bundle(releases: Path) -> Bundle | None:
    """The verified bundle of the champion, or None before the first promotion.

    Raises:
        BundleError: the champion is damaged.
    """
    return None if read_champion(releases) is None else open_bundle(champion_path(releases))


def previous_release(releases: Path, day: date) -> Bundle | None:
    """The champion that the models of `day` may start from, or None if there is none.

    Of the champions that rollbacks step through, it is the one whose held-out day is the newest before `day`. A missing or
    damaged bundle is skipped: training from scratch is slower, not wrong.
    """
    ends = [(_end(releases / release_id), place, release_id) for place, release_id in enumerate(champion_line(releases))]
    earlier = [(end, place, release_id) for end, place, release_id in ends if end is not None and end < day]
    for _, _, release_id in sorted(earlier, reverse=True):
        try:
            return open_bundle(releases / release_id)
        except BundleError:
            continue
    return None


def _end(path: Path) -> date | None:
    """The held-out day of a release."""
    try:
        return date.fromisoformat(read_manifest(path)["data_window"]["end"])
    except (BundleError, KeyError, ValueError):
        return None

"""The retention: a plan of the old things to delete, and their deletion.

    planned = plan_pruning(home, config)     # changes nothing: a dry run is this alone
    removed = prune(home, planned)

Old partitions, artifacts, vectors, bundles, Bentos and event-log files are deleted by `RetentionConfig`. Never deleted: the
champion, the challengers that are served beside it, the earlier champions that the policy keeps for a rollback, their Bentos,
and the partitions and artifacts of the days that they were made from. A folder is renamed before it is deleted, so that no
process reads half of it; the next run deletes what a killed run had only renamed.
"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from livealign.dataset.marts import MARTS
from livealign.days import day_named, day_of, day_range
from livealign.errors import BundleError, EventLogError
from livealign.events.log_files import CLOSED, log_files, read_lines
from livealign.events.models import event_of
from livealign.files import TEMPORARY_PREFIX, disk_bytes, exclusive
from livealign.home import Home
from livealign.landing.partitions import landed_days
from livealign.operation_config import RetentionConfig
from livealign.release.bundle import LOCK, RELEASE_ID, read_manifest
from livealign.release.challengers import read_challengers
from livealign.release.decisions import SUFFIX
from livealign.release.registry import champion_line, list_releases

GOING = f"{TEMPORARY_PREFIX}pruned-"


@dataclass(frozen=True)
class Removal:
    """One file or folder to delete, and the reason."""

    kind: str  # landing | mart | artifacts | report | vectors | release | bento | event log
    path: Path
    bytes: int
    reason: str


@dataclass(frozen=True)
class Pruning:
    """The files and folders to delete, and the releases that are protected."""

    removals: list[Removal]
    protected: list[str]  # release ids: challengers, those that a rollback reaches, the champion last
    protected_days: frozenset[date]  # the days that those releases were made from
    problems: list[str]  # what could not be read, and is kept


def plan_pruning(home: Home, config: RetentionConfig, event_log: Path | None = None) -> Pruning:
    """Decide what to delete; nothing is changed.

    Args:
        event_log: folder of the service's event log; None keeps all of it.

    Raises:
        BundleError: the champion pointer or its history cannot be read, so what must stay is unknown.
    """
    line = champion_line(home.releases)
    reached = list(dict.fromkeys(reversed(line)))[: config.rollback_champions + 1][::-1]
    served, unread = _served(home)
    protected = [*(release for release in served if release not in reached), *reached]
    kept_days, problems = _days_of(home, protected)
    problems += unread
    removals = [
        *_partitions("landing", _landing_partitions(home), config.landing_days, kept_days),
        *_partitions("mart", _mart_partitions(home), config.marts_days, kept_days),
        *_partitions("artifacts", _dated(home.artifacts, "[0-9]*"), config.artifacts_days, kept_days),
        *_partitions("report", _dated(home.reports, "[0-9]*"), config.reports_days, kept_days),
        *_old_vectors(home, config),
        *_old_releases(home, config, protected),
    ]
    if event_log is not None:
        removals += _old_log_files(home, event_log, config, problems)
    return Pruning(removals, protected, frozenset(kept_days), problems)


def prune(home: Home, planned: Pruning) -> list[Removal]:
    """Delete what was planned and what a killed run left half deleted; returns the removals.

    A release that has become the champion since it was planned stays, with its Bento and its days.
    """
    removed: list[Removal] = []
    if not home.workspace.is_dir():
        return removed
    home.releases.mkdir(parents=True, exist_ok=True)
    with exclusive(home.releases / LOCK):  # promotions and rollbacks wait until this is done
        now_needed = {*champion_line(home.releases)[-1:], *_served(home)[0]} - set(planned.protected)
        needed_days, _ = _days_of(home, now_needed)
        for removal in planned.removals:
            path = removal.path
            if path.name.removesuffix(SUFFIX) in now_needed or day_named(path) in needed_days or not path.exists():
                continue
            _remove(path)
            removed.append(removal)
        for leftover in _half_removed(home):
            _delete(leftover)
    return removed


def _half_removed(home: Home) -> Iterator[Path]:
    for root in (home.artifacts, home.reports, home.releases, home.bentos):
        yield from root.glob(f"{GOING}*")
    for root in (home.landing, home.warehouse_tables, home.marts, home.artifacts):  # home.artifacts: the embedding cache
        yield from root.glob(f"*/{GOING}*")
    yield from home.landing.glob(f"rejects/*/{GOING}*")


# What must stay


def _served(home: Home) -> tuple[list[str], list[str]]:
    """The challengers that are served beside the champion; every release and a problem if that cannot be read."""
    try:
        found = read_challengers(home.releases)
    except BundleError as error:
        return sorted(folder.name for folder in home.releases.iterdir() if RELEASE_ID.fullmatch(folder.name)), [str(error)]
    return [] if found is None else [challenger.release for challenger in found.challengers], []


def _days_of(home: Home, releases: Iterable[str]) -> tuple[set[date], list[str]]:
    """Every day that the releases were trained or measured on, and the releases that cannot be read."""
    days: set[date] = set()
    problems = []
    for release_id in releases:
        try:
            window = read_manifest(home.releases / release_id)["data_window"]
        except BundleError as error:
            problems.append(str(error))
            continue
        first, last = date.fromisoformat(window["start"]), date.fromisoformat(window["end"])
        days |= set(day_range(first, last))
    return days, problems


# What may go


def _landing_partitions(home: Home) -> dict[date, list[Path]]:
    """Partitions by day, the ledger first: without it a day does not count as complete if the run is killed."""
    by_day = _dated(home.landing, "*/dt=*", "rejects/*/dt=*")
    for day, paths in _dated(home.warehouse_tables, "int_*/dt=*").items():  # sums of landed days, for running counts
        by_day.setdefault(day, []).extend(paths)
    return {day: sorted(paths, key=lambda path: path.parent.name != "ledger") for day, paths in by_day.items()}


def _mart_partitions(home: Home) -> dict[date, list[Path]]:
    """Partitions by day, dbt's files first: dbt would publish again what is left of them."""
    by_day = _dated(home.warehouse_tables, *(f"{mart}/dt=*" for mart in MARTS))
    for day, paths in _dated(home.marts, "*/dt=*").items():
        by_day.setdefault(day, []).extend(paths)
    return by_day


def _dated(root: Path, *patterns: str) -> dict[date, list[Path]]:
    """Folders below `root` that are named after a day, by that day."""
    by_day: dict[date, list[Path]] = {}
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        day = day_named(path)
        if day is not None and path.is_dir() and not path.is_symlink():
            by_day.setdefault(day, []).append(path)
    return by_day


def _partitions(kind: str, by_day: dict[date, list[Path]], keep: int, kept_days: set[date]) -> Iterator[Removal]:
    newest = sorted(by_day, reverse=True)[:keep]
    reason = f"older than the {keep} newest days"
    for day in sorted(by_day.keys() - set(newest) - kept_days):
        for path in by_day[day]:
            yield Removal(kind, path, disk_bytes(path), reason)


def _old_vectors(home: Home, config: RetentionConfig) -> Iterator[Removal]:
    folders = [path for path in home.embedding_cache.glob("[!.]*") if path.is_dir()]
    folders.sort(key=lambda path: (path.stat().st_mtime, path.name), reverse=True)
    for path in sorted(folders[config.encoder_versions :]):
        yield Removal("vectors", path, disk_bytes(path), f"of an encoder before the last {config.encoder_versions}")


def _old_releases(home: Home, config: RetentionConfig, protected: list[str]) -> Iterator[Removal]:
    ids = sorted(release.release_id for release in list_releases(home.releases))
    kept = {*protected, *ids[-config.releases :]}
    reason = f"older than the {config.releases} newest releases, and no rollback reaches it"
    for kind, root in (("release", home.releases), ("bento", home.bentos)):
        for path in sorted(root.glob("[0-9]*")):  # a bundle, the decision about it, or a Bento
            release_id = path.name.removesuffix(SUFFIX)
            if RELEASE_ID.fullmatch(release_id) and release_id not in kept:
                yield Removal(kind, path, disk_bytes(path), reason)


def _old_log_files(home: Home, event_log: Path, config: RetentionConfig, problems: list[str]) -> Iterator[Removal]:
    landed = landed_days(home.landing)
    may_go = set(landed[: max(len(landed) - config.event_log_days, 0)])
    if not may_go:
        return
    for path in log_files(event_log):
        if path.suffix != CLOSED:
            return
        try:
            days = _event_days(path)
        except (EventLogError, OSError, ValueError) as error:
            problems.append(f"{path} holds a line that is not an event ({error}); it is kept, look at it")
            continue
        if not days <= may_go:
            return  # files are in order of time: those that follow are younger
        yield Removal("event log", path, path.stat().st_size, f"landed, and older than the {config.event_log_days} newest days")


def _event_days(path: Path) -> set[date]:
    return {day_of(event_of(line.payload).at) for line in read_lines(path) if line.payload is not None}


# Removing


def _remove(path: Path) -> None:
    going = path.with_name(f"{GOING}{path.name}")
    if going.exists():
        _delete(going)
    path.rename(going)
    _delete(going)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()

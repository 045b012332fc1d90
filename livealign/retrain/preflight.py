"""Checks before a retrain: everything that it will need, in about a second.

A retrain that would fail after an hour for want of space or of a file fails here at once. `livealign doctor` prints the same.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from livealign.days import day_named
from livealign.errors import LiveAlignError
from livealign.files import disk_bytes, read_json, size_text
from livealign.home import Home
from livealign.llm.backbone import choose_device
from livealign.llm.backbone_names import TINY, can_be_fetched, fetched_folder, folder_of
from livealign.llm.model_folder import tokenizer_file, weight_files
from livealign.memory import usable_memory
from livealign.platforms.registry import EXPECTED, adapter_of
from livealign.release.challengers import read_challengers
from livealign.release.registry import read_champion
from livealign.retrain.artifacts import DayArtifacts

FIRST_RUN_BYTES = 1 << 30  # a first retrain of the simulated platform, profile laptop, takes 0.5 GiB with its models
SPARE = 1.2  # times what the last run took


@dataclass(frozen=True)
class Finding:
    """One thing that is not as a retrain needs it, and the remedy."""

    what: str
    remedy: str
    stops: bool = True  # False: the retrain runs, and may fail

    @classmethod
    def of(cls, error: LiveAlignError) -> "Finding":
        """The finding that an error reports; its last part is the remedy."""
        what, _, remedy = str(error).rpartition("; ")
        return cls(what, remedy) if what else cls(remedy, "")

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


def check_retrain(home: Home, archive: Path | None, backbone: str | None, alone: bool = True) -> list[Finding]:
    """All findings for a retrain of this workspace, in the order in which it would meet them.

    Nothing is left behind, and nothing is made but a file that is removed again. The backbone's files are looked at, not
    loaded: `ready_backbone` does that.

    Args:
        archive: None for a run that lands nothing.
        backbone: None for a run that reads no LLM.
        alone: another retrain of the workspace is a finding. A run that waits for its turn can run beside it.
    """
    unwritable = list(_writable(home))
    if unwritable:  # everything else of the home would fail for the same reason
        return [*unwritable, *_archive(home.platform, archive), *_raised(choose_device)]
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _other_run(home) if alone else iter(()),
        lambda: _raised(lambda: read_champion(home.releases)),
        lambda: (replace(one, stops=False) for one in _raised(lambda: read_challengers(home.releases))),
        lambda: _archive(home.platform, archive),
        lambda: _backbone(backbone, home.models),
        lambda: _raised(choose_device),
        lambda: _disk(home),
        lambda: _memory(home),
    )
    return [finding for check in checks for finding in check()]


def refuse_findings(findings: list[Finding], say: Callable[[str], object]) -> None:
    """Say what may go wrong, and end the retrain on what will.

    Raises:
        LiveAlignError: a finding stops the retrain; the message has a line for each.
    """
    for finding in findings:
        if not finding.stops:
            say(str(finding))
    stopping = [str(finding) for finding in findings if finding.stops]
    if len(stopping) == 1:
        raise LiveAlignError(stopping[0])
    if stopping:
        raise LiveAlignError(f"{len(stopping)} things keep the retrain from starting:", *stopping)


def last_run_bytes(home: Home) -> tuple[date, int] | None:
    """Day and size on disk, in bytes, of the last finished retrain; None before the first."""
    days = [day for path in home.artifacts.glob("*/release/bundle.json") if (day := day_named(path.parents[1]))]
    if not days:
        return None
    day = max(days)
    artifacts = DayArtifacts.of(home, day)
    release = str(_field(artifacts.release / "bundle.json", "release_id"))
    partitions = [*home.landing.glob(f"*/dt={day}"), *home.landing.glob(f"rejects/*/dt={day}")]
    partitions += [*home.warehouse_tables.glob(f"*/dt={day}"), *home.marts.glob(f"*/dt={day}")]
    folders = [artifacts.root, home.releases / release, home.bento(release), *partitions]
    return day, sum(disk_bytes(folder) for folder in folders)


def last_run_peak(home: Home) -> tuple[str, int] | None:
    """Stage and bytes of the last retrain's highest memory; None before the first."""
    newest = sorted(home.artifacts.glob("*/stages"))[-1:]
    peaks = [(int(_field(file, "peak_rss_bytes")), file.stem) for folder in newest for file in folder.glob("*.json")]
    return (max(peaks)[1], max(peaks)[0]) if peaks else None


def _nearest(path: Path) -> Path:
    """The path, or the nearest of those above it that is there."""
    return next(part for part in (path, *path.parents) if part.exists())


def _writable(home: Home) -> Iterator[Finding]:
    nearest = _nearest(home.root)
    if not nearest.is_dir():
        yield Finding(f"LIVEALIGN_HOME={home.root}: {nearest} is no folder", "name a folder by LIVEALIGN_HOME")
        return
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return
    except OSError as error:
        yield Finding(
            f"LIVEALIGN_HOME={home.root}: {nearest} cannot be written ({error.strerror})",
            "name a folder that this user can write, by LIVEALIGN_HOME",
        )


def _other_run(home: Home) -> Iterator[Finding]:
    if not home.retrain_lock.exists():
        return
    try:
        with home.retrain_lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        yield Finding(f"another retrain runs on {home.workspace}", "wait for it or stop it, then run again")
    except OSError as error:
        yield Finding(f"{home.retrain_lock} cannot be read ({error.strerror})", "run as the user who owns the workspace")


def _raised(check: Callable[[], object]) -> Iterator[Finding]:
    """The error of ours that a check raises, if it does."""
    try:
        check()
    except LiveAlignError as error:
        yield Finding.of(error)


def _archive(platform: str, archive: Path | None) -> Iterator[Finding]:
    if archive is None or (platform == "simulator" and not archive.exists()):
        return  # the retrain makes it, or reads none
    expected = f"give an archive of platform {platform} by ARCHIVE=folder, with {EXPECTED[platform]} in it"
    if not archive.is_dir():
        yield Finding(f"{archive} is no folder", expected)
    elif not os.access(archive, os.R_OK | os.X_OK):
        yield Finding(f"{archive} cannot be read by this user", "give the user the right to read it")
    elif not adapter_of(platform).recognises(archive):
        yield Finding(f"{archive} is no archive of platform {platform}", expected)


def _backbone(name: str | None, models: Path) -> Iterator[Finding]:
    if name is None or name == TINY or (can_be_fetched(name) and not fetched_folder(name, models).exists()):
        return  # the retrain makes or fetches it

    def look() -> None:
        folder = folder_of(name, models)
        weight_files(folder)
        tokenizer_file(folder)

    yield from _raised(look)


def _disk(home: Home) -> Iterator[Finding]:
    folder = _nearest(home.root)
    try:
        last = last_run_bytes(home)
    except LiveAlignError as error:
        yield replace(Finding.of(error), stops=False)
        return
    needed = int(last[1] * SPARE) if last else FIRST_RUN_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        why = f"the retrain of {last[0]} took {size_text(last[1])}" if last else "a first retrain takes about 0.5 GiB"
        yield Finding(
            f"{folder} has {size_text(free)} free, and {size_text(needed)} may be needed ({why})",
            "free some space, `livealign prune` removes old releases and days, or move LIVEALIGN_HOME",
        )


def _memory(home: Home) -> Iterator[Finding]:
    try:
        peak, free = last_run_peak(home), usable_memory()
    except LiveAlignError as error:
        yield replace(Finding.of(error), stops=False)
        return
    if peak and free < peak[1]:
        yield Finding(
            f"{size_text(free)} of memory is free, and stage {peak[0]} of the last retrain took {size_text(peak[1])}",
            "stop what else runs here, or learn from fewer days (DAYS=)",
            stops=False,
        )


def _field(file: Path, name: str) -> str | int:
    """One value of a JSON file that a retrain wrote."""
    content = read_json(file)
    value = content.get(name) if isinstance(content, dict) else None
    if not isinstance(value, str | int):
        raise LiveAlignError(f"{file} has no {name}; run `make retrain`, which writes it again")
    return value

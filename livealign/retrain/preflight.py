"""Checks before a retrain: everything that it will need, in about a second.

A retrain that would fail after an hour for want of space or of a file fails here at once. `livealign doctor` prints the same.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

from livealign.days import day_named
from livealign.errors import LiveAlignError
from livealign.files import disk_bytes, plain_file, read_json, size_text
from livealign.home import Home
from livealign.llm.backbone import choose_device
from livealign.llm.backbone_names import TINY, can_be_fetched, fetched_folder, folder_of
from livealign.llm.model_folder import tokenizer_file, weight_files
from livealign.memory import usable_memory
from livealign.platforms.kuaishou.clocks import stated_clock
from livealign.platforms.liverec.adapter import start_ms
from livealign.platforms.registry import EXPECTED, adapter_of
from livealign.release.challengers import read_challengers
from livealign.release.registry import read_champion
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.findings import Finding, finding_of, raised, refuse_findings
from livealign.retrain.graph_variables import variable_findings
from livealign.store import HOME, Store

FIRST_RUN_BYTES = 1 << 30  # a first retrain of the simulated platform, profile laptop, takes 0.5 GiB with its models
SPARE = 1.2  # times what the last run took


def check_retrain(
    home: Home, archive: Path | None, backbone: str | None, alone: bool = True, store: str = HOME
) -> list[Finding]:
    """All findings for a retrain of this workspace, in the order in which it would meet them.

    Nothing is left behind, and nothing is made but a file that is removed again. The backbone's files are looked at, not
    loaded: `ready_backbone` does that.

    Args:
        archive: None for a run that lands nothing.
        backbone: None for a run that reads no LLM.
        alone: another retrain of the workspace is a finding. A run that waits for its turn can run beside it.
        store: the setting `machines.store`. It is looked at once; a retrain waits for one that is away.
    """
    beside: tuple[Callable[[], Iterator[Finding]], ...] = (
        variable_findings,
        lambda: _archive(home, archive),
        lambda: raised(choose_device),
        lambda: raised(lambda: _look_at_store(store)),
    )
    inside: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _other_run(home) if alone else iter(()),
        lambda: raised(lambda: read_champion(home.releases)),
        lambda: (replace(one, stops=False) for one in raised(lambda: read_challengers(home.releases))),
        lambda: _backbone(backbone, home.models),
        lambda: _disk(home),
        lambda: _memory(home),
    )
    unwritable = _of(lambda: _writable(home))
    checks = beside if unwritable else (*beside, *inside)  # the rest of the home would fail for the same reason
    return [*unwritable, *(finding for check in checks for finding in _of(check))]


def _of(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The check's findings, or that of the error that it ends with."""
    try:
        return list(check())
    except (LiveAlignError, OSError) as error:
        return [finding_of(error)]


def refuse_variables() -> None:
    """End a start on variables with impossible values.

    Raises:
        LiveAlignError: the message has a line for each.
    """
    refuse_findings(list(variable_findings()), print)


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
    return next(part for part in (path, *path.parents) if os.path.lexists(part))


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
        with plain_file(home.retrain_lock).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        yield Finding(f"another retrain runs on {home.workspace}", "wait for it or stop it, then run again")
    except OSError as error:
        yield Finding(f"{home.retrain_lock} cannot be read ({error.strerror})", "run as the user who owns the workspace")


def _archive(home: Home, archive: Path | None) -> Iterator[Finding]:
    if archive is None:  # the run lands nothing
        return
    platform = home.platform
    adapter = adapter_of(platform)
    expected = f"give an archive of platform {platform} by ARCHIVE=folder, with {EXPECTED[platform]} in it"
    if platform == "simulator" and archive == home.archive and not os.path.lexists(archive):
        # A retrain makes this one. What is wrong with the home itself is said of the home.
        nearest = _nearest(archive)
        inside = nearest != home.root and nearest.is_relative_to(home.root)
        if not inside or (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
            return
        yield Finding(
            f"the platform cannot be simulated into {archive}: {nearest} is no folder that this user can write",
            "move it away or change its permissions, or name another home by LIVEALIGN_HOME",
        )
    elif not archive.is_dir():
        made = f", or make one there: `livealign simulate --out {archive}`" if platform == "simulator" else ""
        yield Finding(f"{archive} is no folder", expected + made)
    elif not os.access(archive, os.R_OK | os.X_OK):
        yield Finding(f"{archive} cannot be read by this user", "give the user the right to read it")
    elif not adapter.recognises(archive):
        yield Finding(f"{archive} is no archive of platform {platform}", expected)
    elif platform == "liverec":
        yield from raised(lambda: start_ms(archive))
    elif platform == "kuailive_m3":
        yield from raised(stated_clock)


def _look_at_store(where: str) -> None:
    store = Store.open(where)
    if store is not None:
        store.look()


def _backbone(name: str | None, models: Path) -> Iterator[Finding]:
    if name is None or name == TINY or (can_be_fetched(name) and not fetched_folder(name, models).exists()):
        return  # the retrain makes or fetches it

    def look() -> None:
        folder = folder_of(name, models)
        weight_files(folder)
        tokenizer_file(folder)

    yield from raised(look)


def _disk(home: Home) -> Iterator[Finding]:
    folder = _nearest(home.root)
    try:
        last = last_run_bytes(home)
    except (LiveAlignError, OSError) as error:
        yield replace(finding_of(error), stops=False)
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
    except (LiveAlignError, OSError) as error:
        yield replace(finding_of(error), stops=False)
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

"""The adapters by the platform that they read.

An adapter module is an `Adapter`; `livealign.landing.rules` has the checks of its rows. It names every file that it opens or
leaves out on purpose to the run (`add`, `reject`, `used`), so that the files that it did not use can be reported to the user.
"""

import os
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from livealign.errors import ArchiveError, LiveAlignError
from livealign.landing.run import LandingRun, Progress
from livealign.landing.summary import LandingSummary
from livealign.operation_config import LandingConfig
from livealign.platforms import served, simulator
from livealign.platforms.chat.adapter import ChatAdapter
from livealign.platforms.chat.broadcasts import BILIBILI, OTHER, TWITCH, YOUTUBE
from livealign.platforms.kuaishou import kuailive, kuailive_m3
from livealign.platforms.liverec import adapter as liverec
from livealign.platforms.parquet import adapter as parquet


class Adapter(Protocol):
    """The interface of a platform's module."""

    def archive_days(self, archive: Path) -> list[date]:
        """All UTC days on which the archive has anything, sorted."""

    def land_days(self, archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
        """Hand everything of these days to the run; rows of other days do no harm."""

    def recognises(self, archive: Path) -> bool:
        """Whether a folder looks like this platform's archive, by names and a cheap look.

        A module may also have `ignored(archive, relative_path) -> bool`, true of files that are never read and never named, and
        `notes(archive) -> list[str]`, what a user should know before landing.
        """


PLATFORMS: dict[str, Adapter] = {
    "simulator": simulator,
    "twitch": ChatAdapter(TWITCH),
    "youtube": ChatAdapter(YOUTUBE),
    "bilibili": ChatAdapter(BILIBILI),
    "chat": ChatAdapter(OTHER),
    "kuailive": kuailive,
    "kuailive_m3": kuailive_m3,
    "served": served,
    "parquet": parquet,
    "liverec": liverec,
}

EXPECTED = {  # what an archive of each platform looks like
    "simulator": "simulator.json with dt=YYYY-MM-DD/",
    "twitch": "CHANNEL/BROADCAST/vod.json with verbose_chat.json.gz, or chat JSON of TwitchDownloader or chat-downloader",
    "youtube": "NAME.live_chat.json with NAME.info.json, or chat-downloader's JSON",
    "bilibili": "BililiveRecorder's danmaku XML, or ROOM/DAY.txt with time_ms:user_id:text",
    "chat": "chats of several sites, each as its own platform has them",
    "kuailive": "click.csv with room.csv",
    "kuailive_m3": "live_interaction.csv with live_room_meta.parquet",
    "served": "events-*.log",
    "parquet": "plays.parquet or plays/dt=YYYY-MM-DD/, and so on for each landing table",
    "liverec": "100k.csv or full_a.csv.gz with user,stream,streamer,start,stop",
}
_DAY_FOLDER = re.compile(r"dt=\d{4}-\d{2}-\d{2}")


def adapter_of(platform: str) -> Adapter:
    """The platform's adapter.

    Raises:
        LiveAlignError: there is none of that name.
    """
    if platform not in PLATFORMS:
        raise LiveAlignError(f"there is no platform '{platform}'; choose one of {', '.join(PLATFORMS)}")
    return PLATFORMS[platform]


def recognise(archive: Path) -> str:
    """The platform that an archive is of.

    Raises:
        ArchiveError: none of those known, or several.
    """
    archive = Path(archive)
    if not archive.is_dir():
        raise ArchiveError(f"{archive} is no folder; give the folder that holds the archive")
    found = [name for name, adapter in PLATFORMS.items() if adapter.recognises(archive)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ArchiveError(f"{archive} looks like {' and '.join(found)} at once; say which one by --platform")
    expected = "; ".join(f"{files} ({name})" for name, files in EXPECTED.items())
    raise ArchiveError(f"{archive} is of no known format; expected one of: {expected}")


def archive_days(platform: str, archive: Path) -> list[date]:
    """All UTC days on which the archive has anything, sorted.

    Raises:
        LiveAlignError: no such platform, or the archive is not one of it.
    """
    return adapter_of(platform).archive_days(Path(archive))


def land(
    platform: str,
    archive: Path,
    landing_root: Path,
    days: Sequence[date] | None = None,
    progress: Progress | None = None,
    now: datetime | None = None,
    config: LandingConfig | None = None,
) -> LandingSummary:
    """Land days of an archive, or all of them, replacing what was landed for them before.

    Raises:
        LiveAlignError: no such platform, the archive is not one of it, or it has no days at all.
    """
    adapter, archive = adapter_of(platform), Path(archive)
    chosen = list(days) if days is not None else adapter.archive_days(archive)
    if not chosen:
        raise ArchiveError(f"{archive} has no day to land; look for a vod.json or a day folder that can be read")
    with LandingRun(landing_root, chosen, now, config) as run:
        adapter.land_days(archive, run, chosen, progress)
        run.summary.not_read = _not_read(adapter, archive, run)
    return run.summary


def _not_read(adapter: Adapter, archive: Path, run: LandingRun) -> list[str]:
    """Files of the archive that the adapter has not named, sorted; those of a day that was not asked for aside."""
    ignored = getattr(adapter, "ignored", lambda archive, file: False)
    days = {f"dt={day}" for day in run.days}
    return sorted(
        file
        for file in _files_of(archive)
        if not run.was_used(file)
        and not ignored(archive, file)
        and all(part in days for part in file.split("/")[:-1] if _DAY_FOLDER.fullmatch(part))
    )


def _files_of(archive: Path) -> Iterator[str]:
    """Every file by its path relative to the archive, hidden ones aside; folders are followed through links, as adapters do."""
    entered = set()
    for folder, folders, files in os.walk(archive, followlinks=True):
        place = os.path.realpath(folder)
        if place in entered:  # a link to a folder above
            folders.clear()
            continue
        entered.add(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield (Path(folder) / name).relative_to(archive).as_posix()

"""Which adapter reads which platform.

An adapter module has `archive_days(archive) -> list[date]` and
`land_days(archive, run, days, progress=None) -> None`; `livealign.landing.run` says what its rows must be.
"""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from livealign.errors import ArchiveError, LiveAlignError
from livealign.landing.run import LandingRun, LandingSummary, Progress
from livealign.platforms import liverec, parquet, served, simulator
from livealign.platforms.chat.adapter import ChatAdapter
from livealign.platforms.chat.broadcasts import BILIBILI, OTHER, TWITCH, YOUTUBE
from livealign.platforms.kuaishou import kuailive, kuailive_m3


class Adapter(Protocol):
    """What a platform's module offers."""

    def archive_days(self, archive: Path) -> list[date]:
        """All UTC days on which the archive has anything, sorted."""

    def land_days(self, archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
        """Hand everything of these days to the run; rows of other days do no harm."""


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


def adapter_of(platform: str) -> Adapter:
    """The platform's adapter.

    Raises:
        LiveAlignError: there is none of that name.
    """
    if platform not in PLATFORMS:
        raise LiveAlignError(f"there is no platform '{platform}'; choose one of {', '.join(PLATFORMS)}")
    return PLATFORMS[platform]


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
) -> LandingSummary:
    """Land days of an archive (all of them if none are named), replacing what was landed for them before.

    Raises:
        LiveAlignError: no such platform, the archive is not one of it, or it has no days at all.
    """
    adapter, archive = adapter_of(platform), Path(archive)
    chosen = list(days) if days is not None else adapter.archive_days(archive)
    if not chosen:
        raise ArchiveError(f"{archive} has no day to land; look for a vod.json or a day folder that can be read")
    with LandingRun(landing_root, chosen, now) as run:
        adapter.land_days(archive, run, chosen, progress)
    return run.summary

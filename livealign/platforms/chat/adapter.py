"""The adapter of chat archives: each site reads every format, so archives may be mixed."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from livealign.errors import ArchiveError
from livealign.landing.run import LandingRun, Progress
from livealign.platforms.chat.broadcasts import BILIBILI, OTHER, TWITCH, YOUTUBE
from livealign.platforms.chat.find import find_broadcasts
from livealign.platforms.chat.landing import land_broadcasts

LABELS = {TWITCH: "Twitch", YOUTUBE: "YouTube", BILIBILI: "Bilibili", OTHER: "chat"}


class ChatAdapter:
    """The platform of one site, or with OTHER that of mixed archives."""

    def __init__(self, site: str) -> None:
        self._site = site

    def archive_days(self, archive: Path) -> list[date]:
        """All days on which a channel was live, sorted.

        Chats are read only where no other file has the start.

        Raises:
            ArchiveError: there are no broadcasts.
        """
        found = find_broadcasts(Path(archive), LABELS[self._site])
        return sorted({day for broadcast in found.broadcasts for day in broadcast.days})

    def land_days(self, archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
        """Land everything that happened on `days`: every broadcast that reaches into them is read.

        Raises:
            ArchiveError: there are no broadcasts.
        """
        land_broadcasts(Path(archive), find_broadcasts(Path(archive), LABELS[self._site]), run, days, progress)

    def recognises(self, archive: Path) -> bool:
        """Whether what the archive holds is of this site (of several, or of another one, for OTHER)."""
        try:
            found = find_broadcasts(Path(archive), LABELS[self._site])
        except ArchiveError:
            return False
        return site_of({broadcast.site for broadcast in found.broadcasts}, found.names) == self._site

    def notes(self, archive: Path) -> list[str]:
        """The notes that a user should read before landing."""
        found = find_broadcasts(Path(archive), LABELS[self._site])
        channels = {(broadcast.site, broadcast.author_id) for broadcast in found.broadcasts}
        sites = ", ".join(sorted({LABELS[broadcast.site] for broadcast in found.broadcasts}))
        notes = [f"{len(channels)} channels ({sites}); a viewer is known only while chatting"]
        if any(broadcast.site == YOUTUBE for broadcast in found.broadcasts):
            notes.append("super chats keep the currency that they were paid in: values of different ones do not compare")
        if any(broadcast.duration is None for broadcast in found.broadcasts):
            notes.append("some broadcasts have no end: their chat is cut short or missing")
        return notes


def site_of(sites: set[str], names: set[str]) -> str:
    """The platform of an archive by the sites found; file names decide where no broadcast fits."""
    if len(sites) == 1:
        return next(iter(sites))
    if not sites and all(name.endswith(("vod.json", "verbose_chat.json", "verbose_chat.json.gz")) for name in names):
        return TWITCH
    return OTHER

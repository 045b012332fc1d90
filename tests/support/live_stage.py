"""A live core on a log of its own, a clock moved by hand, and a platform that says things."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livealign.config import LiveConfig
from livealign.events.followed_log import FollowedLog
from livealign.events.log import START, EventLog, Log
from livealign.events.models import event_of
from livealign.live.answers import ShadowComparison, SharedReport, SilentObserver, TickReport
from livealign.live.core import LiveCore
from livealign.live.shared.reading import SharedReading
from tests.planted.release import PlantedRelease

CONFIG = LiveConfig(publish_seconds=0.0, exploration_share=0.0, max_same_code=100)
USER, STRANGER = 501, 10**12


@dataclass
class Clock:
    """Seconds since 1970, moved by hand."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class Told(SilentObserver):
    """Remembers what a core tells."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    ticks: list[TickReport] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    shadows: list[ShadowComparison] = field(default_factory=list)
    steps: list[SharedReport] = field(default_factory=list)
    lists: int = 0

    def events(self, outcomes: Mapping[tuple[str, Any], int]) -> None:
        self.outcomes.update(outcomes)

    def recommended(self, seconds: Mapping[str, float], fallbacks: Sequence[str]) -> None:
        self.lists += 1

    def ticked(self, report: TickReport) -> None:
        self.ticks.append(report)

    def failed(self, what: str, detail: str) -> None:
        self.failures.append((what, detail))

    def shadowed(self, comparison: ShadowComparison) -> None:
        self.shadows.append(comparison)

    def shared(self, report: SharedReport) -> None:
        self.steps.append(report)

    def took_over(self, release_id: str, seconds: float) -> None:
        self.releases.append(release_id)


@dataclass
class Platform:
    """Says what happens, each event under a new id, at the clock's time."""

    clock: Clock
    number: int = 0

    def event(self, kind: str, room_id: int, author_id: int | None = None, **fields: Any) -> dict[str, Any]:
        """An event of a room, by default of the author whom `Stage.start_rooms` gives it."""
        self.number += 1
        return {
            "kind": kind,
            "event_id": f"e{self.number}",
            "at": int(self.clock.now * 1000),
            "room_id": room_id,
            "author_id": 900 + room_id % 20 if author_id is None else author_id,
        } | fields

    def comments(self, room_id: int, *texts: str, user_id: int = 7) -> list[dict[str, Any]]:
        return [self.event("comment", room_id, user_id=user_id, text=text) for text in texts]


@dataclass
class Stage:
    """A core on a log of its own, and everything around it."""

    release: PlantedRelease
    folder: Path
    clock: Clock
    platform: Platform
    told: Told
    core: LiveCore

    @classmethod
    def open(
        cls,
        release: PlantedRelease,
        folder: Path,
        config: LiveConfig = CONFIG,
        log: Log | None = None,
        shared: SharedReading | None = None,
    ) -> "Stage":
        clock = Clock(release.taken_at / 1000 + 60)
        clock.now -= clock.now % 30  # the beginning of a window
        told = Told()
        core = LiveCore.open(
            release.bundle,
            log or EventLog(folder / "log", clock),
            Path("none"),
            config,
            clock,
            told,
            checkpoint=folder / "state" / "checkpoint.npz",
            shared=shared,
        )
        return cls(release, folder, clock, Platform(clock), told, core)

    def again(self, release: PlantedRelease | None = None) -> "Stage":
        """Another process, on the same log and checkpoint, at the same time."""
        fresh = Stage.open(release or self.release, self.folder)
        fresh.clock.now, fresh.platform.number = self.clock.now, self.platform.number
        return fresh

    def next_window(self) -> TickReport:
        """The window ends, and is refreshed."""
        self.clock.now += 30 - self.clock.now % 30 + 2.5
        return self.core.tick()

    def start_rooms(self, *room_ids: int) -> None:
        told = [self.platform.event("room_started", one, 900 + one % 20, title=f"room {one}") for one in room_ids]
        assert len(self.core.ingest(told).accepted) == len(room_ids)


def logged(folder: Path) -> list[Any]:
    """The events of the log of the stage in this folder."""
    return logged_in(folder / "log")


def logged_in(folder: Path) -> list[Any]:
    """The events of a log."""
    return [event_of(record) for _, record in FollowedLog(folder).read(START)]

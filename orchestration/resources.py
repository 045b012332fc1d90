"""What assets are given from outside: the workspace of the platform that is retrained, the profile, and dbt."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from livealign.config import DatasetConfig
from livealign.home import Home
from livealign.profiles import Profile
from livealign.retrain.artifacts import DayArtifacts
from livealign.settings import GivenValue, load_settings

WAREHOUSE_POOL = "warehouse"  # DuckDB takes one writer a file; everything that opens it for writing is in this pool
ACCEPT = "livealign/accept"  # run tag; "volumes" where a person has looked into an unusual day and lets it pass
ACCEPTABLE = ("volumes",)


@dataclass(frozen=True)
class Workspace:
    """Which platform is retrained, from which archive, into which folders, by which profile."""

    home: Home
    archive: Path
    profile: Profile
    dataset: DatasetConfig  # the profile's
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # `Settings.of_a_release`

    @classmethod
    def from_environment(cls, flags: Sequence[GivenValue] = ()) -> "Workspace":
        """LIVEALIGN_HOME, LIVEALIGN_PLATFORM and LIVEALIGN_ARCHIVE, and the settings in force (`livealign.settings`).

        Raises:
            LiveAlignError: a setting that there is not, or a value that it cannot have.
        """
        home, settings = Home.from_environment(), load_settings(flags)
        archive = os.environ.get("LIVEALIGN_ARCHIVE")
        return cls(
            home=home,
            archive=Path(archive).absolute() if archive else home.archive,
            profile=settings.profile,
            dataset=settings.profile.dataset,
            settings=settings.of_a_release(),
        )

    def training_days(self, day: date) -> list[date]:
        """The days before `day` that its challenger learns from, oldest first."""
        return [day - timedelta(days=back) for back in range(self.dataset.train_days, 0, -1)]

    def artifacts(self, day: date) -> DayArtifacts:
        return DayArtifacts.of(self.home, day)

"""The workspace that the assets work on: one platform, its archive, folders and profile."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from livealign.config import DatasetConfig
from livealign.home import Home
from livealign.paths import path_in
from livealign.profiles import Profile
from livealign.retrain.artifacts import DayArtifacts
from livealign.settings import GivenValue, load_settings

WAREHOUSE_POOL = "warehouse"  # DuckDB allows one writer per file; every asset that opens it for writing is in this pool
ACCEPT = "livealign/accept"  # run tag; "volumes" if a person has looked into an unusual day and accepts it
ACCEPTABLE = ("volumes",)


@dataclass(frozen=True)
class Workspace:
    """One platform's archive and folders, and the profile to retrain by."""

    home: Home
    archive: Path
    profile: Profile
    dataset: DatasetConfig  # the profile's
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # `Settings.of_a_release`

    @classmethod
    def from_environment(cls, flags: Sequence[GivenValue] = ()) -> "Workspace":
        """The workspace of LIVEALIGN_HOME, LIVEALIGN_PLATFORM and LIVEALIGN_ARCHIVE.

        Args:
            flags: settings given on the command line; they win over the file and the environment (`livealign.settings`).

        Raises:
            LiveAlignError: a setting does not exist, or its value is not allowed.
        """
        home, settings = Home.from_environment(), load_settings(flags)
        archive = path_in(os.environ, "LIVEALIGN_ARCHIVE")
        return cls(
            home=home,
            archive=archive.absolute() if archive else home.archive,
            profile=settings.profile,
            dataset=settings.profile.dataset,
            settings=settings.of_a_release(),
        )

    def training_days(self, day: date) -> list[date]:
        """The days before `day` that its challenger learns from, oldest first."""
        return [day - timedelta(days=back) for back in range(self.dataset.train_days, 0, -1)]

    def artifacts(self, day: date) -> DayArtifacts:
        """The artifacts of one day's retrain."""
        return DayArtifacts.of(self.home, day)

"""What assets are given from outside: the workspace of the platform that is retrained, the profile, and dbt."""

import os
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from livealign.artifacts import DayArtifacts
from livealign.config import DatasetConfig, Profile, load_profile
from livealign.home import Home

WAREHOUSE_POOL = "warehouse"  # DuckDB takes one writer a file; everything that opens it for writing is in this pool
ACCEPT = "livealign/accept"  # run tag; "volumes" where a person has looked into an unusual day and lets it pass


@dataclass(frozen=True)
class Workspace:
    """Which platform is retrained, from which archive, into which folders, by which profile."""

    home: Home
    archive: Path
    profile: Profile
    dataset: DatasetConfig  # the profile's, with the days of history that were asked for

    @classmethod
    def from_environment(cls) -> "Workspace":
        """Read LIVEALIGN_HOME, LIVEALIGN_PLATFORM, LIVEALIGN_ARCHIVE, LIVEALIGN_PROFILE, LIVEALIGN_BACKBONE, LIVEALIGN_SEED
        and LIVEALIGN_DAYS; every one has a default."""
        home = Home.from_environment()
        seed = os.environ.get("LIVEALIGN_SEED")
        profile = load_profile(
            os.environ.get("LIVEALIGN_PROFILE") or "laptop",
            backbone=os.environ.get("LIVEALIGN_BACKBONE") or None,
            seed=int(seed) if seed else None,
        )
        archive = os.environ.get("LIVEALIGN_ARCHIVE")
        train_days = os.environ.get("LIVEALIGN_DAYS")
        return cls(
            home=home,
            archive=Path(archive).absolute() if archive else home.archive,
            profile=profile,
            dataset=replace(profile.dataset, train_days=int(train_days)) if train_days else profile.dataset,
        )

    def training_days(self, day: date) -> list[date]:
        """The days before `day` that its challenger learns from, oldest first."""
        return [day - timedelta(days=back) for back in range(self.dataset.train_days, 0, -1)]

    def artifacts(self, day: date) -> DayArtifacts:
        return DayArtifacts.of(self.home, day)

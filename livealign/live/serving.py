"""A release in service: its models, and its encoder where the backbone is on this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from livealign.config import LiveConfig, SegmentConfig
from livealign.errors import BackboneError, BundleError
from livealign.live.answers import CoreVersion
from livealign.live.recommender import Recommender
from livealign.live.refresh import Refresher
from livealign.live.startup import Snapshot, read_snapshot
from livealign.release.contents import snapshot_files
from livealign.release.models import load_encoder


@dataclass(frozen=True)
class Serving:
    """Everything that belongs to one release; swapped as a whole."""

    recommender: Recommender
    refresher: Refresher | None
    problem: str | None  # why there is no refresher

    @property
    def release_id(self) -> str:
        return self.recommender.model_version

    @property
    def segments(self) -> SegmentConfig:
        """How the release's windows are read."""
        return SegmentConfig() if self.refresher is None else self.refresher.segments

    @property
    def history_length(self) -> int:
        """Engagements of a user that the release reads."""
        return self.recommender.alignment.history_length

    def snapshot(self) -> Snapshot:
        """What the release knows of rooms and users to start with."""
        return read_snapshot(snapshot_files(self.recommender.bundle), self.recommender.author_moments)

    def version(self) -> CoreVersion:
        """What a caller may know of it."""
        manifest = self.recommender.bundle.manifest
        return CoreVersion(
            release_id=manifest["release_id"],
            livealign=manifest["livealign"],
            platform=manifest["platform"],
            profile=manifest["profile"],
            data_window=manifest["data_window"],
            codebook_version=manifest["codebook_version"],
            backbone=str(manifest["backbone"]["id"]),
            encodes=self.refresher is not None,
        )


def open_serving(
    bundle: Path, models: Path, config: LiveConfig, clock: Callable[[], float], before: Serving | None = None
) -> Serving:
    """Verify the bundle and load what it serves with; a backbone that `before` has loaded is used again.

    Raises:
        BundleError: the bundle is missing or damaged.
    """
    recommender = Recommender.open(bundle, config)
    if "config" not in recommender.bundle.manifest:
        raise BundleError(f"{bundle} does not say how it was made; build the release again")
    loaded = None if before is None or before.refresher is None else before.refresher.encoder.backbone
    try:
        encoder = load_encoder(recommender.bundle, models, loaded)
    except BackboneError as error:
        return Serving(recommender, None, f"rooms are not refreshed: {error}")
    if encoder.hidden_size != recommender.alignment.sizes.sources[0]:
        raise BundleError(f"the models in {bundle} do not fit its encoder; build the release again")
    return Serving(recommender, Refresher(recommender, encoder, clock, config.encode_chunk), None)

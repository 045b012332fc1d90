"""The release in service: its models and, if present, its encoder."""

from collections.abc import Callable, Sequence
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
    """Everything that belongs to one release; replaced as a whole."""

    recommender: Recommender
    refresher: Refresher | None
    problem: str | None  # why there is no refresher, if there should be one
    followed: bool = False  # other processes read the rooms; this one has no encoder

    @property
    def release_id(self) -> str:
        """Id of the release."""
        return self.recommender.model_version

    @property
    def segments(self) -> SegmentConfig:
        """The release's settings for the texts of windows."""
        if self.followed:
            return SegmentConfig(**self.recommender.bundle.manifest["config"]["segments"])
        return SegmentConfig() if self.refresher is None else self.refresher.segments

    @property
    def history_length(self) -> int:
        """Number of a user's engagements that the release reads."""
        return self.recommender.alignment.history_length

    def snapshot(self) -> Snapshot:
        """The rooms and users of the release's snapshot."""
        return read_snapshot(snapshot_files(self.recommender.bundle), self.recommender.encode_authors)

    def version(self) -> CoreVersion:
        """The release as the service reports it."""
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
    bundle: Path,
    models: Path | Sequence[Path],
    config: LiveConfig,
    clock: Callable[[], float],
    previous: Serving | None = None,
    *,
    reads: bool = True,
) -> Serving:
    """Verify a bundle and load its models and encoder.

    A backbone that `previous` has loaded is used again.

    Args:
        reads: False loads no encoder: other processes read the rooms.

    Raises:
        BundleError: the bundle is missing or damaged.
    """
    recommender = Recommender.open(bundle, config)
    if "config" not in recommender.bundle.manifest:
        raise BundleError(f"{bundle} does not say how it was made; build the release again")
    if not reads:
        return Serving(recommender, None, None, followed=True)
    loaded = None if previous is None or previous.refresher is None else previous.refresher.encoder.backbone
    try:
        encoder = load_encoder(recommender.bundle, models, loaded)
    except BackboneError as error:
        return Serving(recommender, None, f"rooms are not refreshed: {error}")
    if encoder.widths != recommender.alignment.sizes.sources[: len(encoder.widths)]:
        raise BundleError(f"the models in {bundle} do not fit its encoder; build the release again")
    return Serving(recommender, Refresher(recommender, encoder, clock, config.encode_chunk), None)

"""The profiles tiny, laptop and gpu: a value for every setting.

`livealign.settings` puts a person's own values on top of a profile.
"""

from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from livealign.bounds import SEED, setting
from livealign.config import (
    AlignmentConfig,
    CodesConfig,
    DatasetConfig,
    EncoderConfig,
    EvaluationConfig,
    FinetuneConfig,
    FramesConfig,
    LexicalConfig,
    LiveConfig,
    RankerConfig,
    RetuneConfig,
    SegmentConfig,
)
from livealign.errors import LiveAlignError
from livealign.operation_config import (
    DriftConfig,
    LandingConfig,
    MachinesConfig,
    PromotionConfig,
    ReadingConfig,
    RetentionConfig,
    VolumeConfig,
)


@dataclass(frozen=True)
class Profile:
    """All settings of a retrain and of the service that runs its releases."""

    name: str
    backbone: str = setting("smollm2-135m", "smollm2-135m, gemma3-270m, minilm-l6, org/name@revision, a model folder, or tiny")
    seed: int = setting(17, "seed of every stage", SEED)
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    retune: RetuneConfig = field(default_factory=RetuneConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    lexical: LexicalConfig = field(default_factory=LexicalConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    codes: CodesConfig = field(default_factory=CodesConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    landing: LandingConfig = field(default_factory=LandingConfig)
    volumes: VolumeConfig = field(default_factory=VolumeConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    promotion: PromotionConfig = field(default_factory=PromotionConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)
    live: LiveConfig = field(default_factory=LiveConfig)
    machines: MachinesConfig = field(default_factory=MachinesConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict, for manifests and reports."""
        return asdict(self)

    @property
    def reads_pictures(self) -> bool:
        """Whether pictures are a source of content, or tokens of the LLM."""
        return "frames" in self.alignment.sources or self.frames.prefix_tokens > 0

    def of_a_release(self) -> dict[str, Any]:
        """The settings that a release depends on, as a plain nested dict.

        Retention, the running service and the machines are left out, pictures where the release reads none, and the reading
        budget where there is none.
        """
        left_out = set(NOT_OF_A_RELEASE)
        if not self.reads_pictures:
            left_out.add("frames")
        if not self.reading.is_bounded:
            left_out.add("reading")
        return {name: value for name, value in self.to_dict().items() if name not in left_out}


NOT_OF_A_RELEASE = ("retention", "live", "machines")
SEEDED = ("finetune", "lexical", "alignment", "codes", "ranker", "evaluation", "drift", "promotion")

PROFILES: dict[str, Profile] = {
    "tiny": Profile(
        name="tiny",
        backbone="tiny",
        encoder=EncoderConfig(exit_layer=2, first_adapted_layer=1, pooling="telling"),
        finetune=FinetuneConfig(steps=6, batch_size=8),
        dataset=DatasetConfig(history_length=8),
        lexical=LexicalConfig(width=16),
        frames=FramesConfig(backbone="pixels"),
        # Its LLM is untrained: the check would switch content off, and all that follows from content would stay untested.
        alignment=AlignmentConfig(dim=16, hidden=32, epochs=2, batch_size=256, check=False),
        codes=CodesConfig(levels=2, codes_per_level=8, iterations=10, restarts=1),
        ranker=RankerConfig(id_dim=8, code_dim=4, hidden=(32,), epochs=1, batch_size=512),
        evaluation=EvaluationConfig(bootstrap_samples=50, least_users=20),
        drift=DriftConfig(sample_rows=2_000),
    ),
    "laptop": Profile(name="laptop", backbone="smollm2-135m", encoder=EncoderConfig(pooling="telling")),
    "gpu": Profile(
        name="gpu",
        backbone="smollm2-135m",
        encoder=EncoderConfig(exit_layer=1.0, first_adapted_layer=0, pooling="telling"),
        finetune=FinetuneConfig(rank=16, alpha=32, batch_size=256, learning_rate=2e-3, steps=600),
        codes=CodesConfig(codes_per_level=256),
    ),
}


def load_profile(name: str, backbone: str | None = None, seed: int | None = None) -> Profile:
    """The named profile, on request with another backbone or seed.

    The seed goes to every stage.

    Raises:
        LiveAlignError: there is no profile of that name.
    """
    if name not in PROFILES:
        nearest = get_close_matches(name, PROFILES, 1)
        meant = f"did you mean {nearest[0]}? There are" if nearest else "choose one of"
        raise LiveAlignError(f"there is no profile '{name}'; {meant} {', '.join(PROFILES)}")
    profile = PROFILES[name]
    if backbone is not None:
        profile = replace(profile, backbone=backbone)
    return profile if seed is None else with_seed(profile, seed)


def with_seed(profile: Profile, seed: int) -> Profile:
    """The same profile with every stage seeded by `seed`."""
    return replace(profile, seed=seed, **{name: replace(getattr(profile, name), seed=seed) for name in SEEDED})
